"""Read images: training, evaluation, prediction and the audit get the same pixels.

A file is hostile until it is decoded: only regular files are opened, only six formats are tried (by
content, not by name), the header is read and the pixels counted before anything is decoded, and
whatever a decoder raises leaves here as one `DataError` that names the file.
"""

import contextlib
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from tumorboard import config
from tumorboard.data import pixels
from tumorboard.data.dicom import reader as dicom
from tumorboard.data.nifti import reader as nifti
from tumorboard.data.pixels import Pixels, readers_quiet
from tumorboard.errors import DataError, ImageError, TumorboardError, display

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
MAX_PIXELS = 100_000_000
MAX_BYTES = 1 << 30
"""A larger file is refused unread: 100 million pixels of 16-bit RGBA fit into it."""

_DEFAULT = config.Image()
_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An image at full size.

    Args:
        pixels: uint8 (H, W, 3), RGB, 0-255.
        notes: What the user should know, such as further frames or a nearly black image, one line each.
        windowed: Whether a grey window may change it: DICOM, and other grey of more than 8 bits.
    """

    pixels: Pixels
    notes: tuple[str, ...]
    windowed: bool


def read_image(
    source: str | Path | bytes | BinaryIO,
    settings: config.Image = _DEFAULT,
    *,
    name: Path | str = "",
    max_pixels: int = MAX_PIXELS,
    frame: int = 0,
) -> DecodedImage:
    """Read an image of any supported format and mode at full size.

    Alpha is composited on black, grey of more than 8 bits becomes 8 by window or depth, EXIF orientation is
    applied, of several pages the first is read, colour profiles are not applied (see `data.pixels`). A volume
    is read one slice at a time, which its path names (see `split_address`).

    Args:
        source: PNG, JPEG, BMP, TIFF, WebP, DICOM or NIfTI by content: the path of a regular file, whose name
            does not matter, or the address of a slice; or a file's bytes, or an open binary file that can
            seek.
        settings: Those of a run or a model spec, of which window and depth are used.
        name: What errors and notes call it; by default its path.
        max_pixels: More than this are refused before decoding.
        frame: The number of a volume's slice, from 1; 0 for the one that the path names, or the only one.

    Raises:
        DataError: Not a regular file, not such an image, damaged, too large, or its values do not fit the
            settings.
        SandboxStartError: It is DICOM, and the process that decodes it cannot be started.
    """
    try:
        if isinstance(source, str | Path):
            path, named = split_address(Path(source))
            name = name or Path(source)
            require_regular(path)  # before opening: opening a pipe would wait for a writer for ever
            # A file object: given a name, Pillow may map the file, and a mapped file that shrinks kills us.
            with path.open("rb") as file:
                return _decode(file, name, settings, max_pixels, frame or named, path)
        name = name or "the image"
        if isinstance(source, bytes):
            require_size(name, len(source))
            source = io.BytesIO(source)
        return _decode(source, name, settings, max_pixels, frame)
    except TumorboardError:
        raise
    except Exception as error:  # whatever a decoder raises at a damaged file
        raise unusable(name, _reason(error), getattr(error, "remedy", "")) from error


def largest_undeclared(path: Path) -> int:
    """Return the largest value of a 16-bit image whose file does not declare how many bits are used.

    0 for any other image, DICOM among them, and for what cannot be read: whoever decodes it reports it.
    """
    try:
        path, _ = split_address(path)
        require_regular(path)
        with path.open("rb") as file:
            if dicom.recognised(file.read(dicom.HEAD_BYTES)):
                return 0
            file.seek(0)
            with readers_quiet(), _opened(file, MAX_PIXELS) as image:
                return pixels.largest_undeclared(image)
    except Exception:
        return 0


def read_input(source: str | Path | bytes | BinaryIO, settings: config.Image) -> Pixels:
    """Read an image as a network takes it.

    Args:
        source: As for `read_image`.
        settings: The model spec's: size, way of resizing, window and depth.

    Returns:
        uint8 (size, size, 3), RGB, 0-255.

    Raises:
        DataError: As `read_image`.
    """
    return to_input(read_image(source, settings).pixels, settings)


def to_input(image: Pixels, settings: config.Image) -> Pixels:
    """Resize to the network's input, antialiased: stretched, or padded with black around the centre.

    Args:
        image: uint8 (H, W, 3), 0-255.
        settings: Size, way of resizing and filter.

    Returns:
        uint8 (size, size, 3), 0-255.
    """
    size, (height, width) = settings.size, image.shape[:2]
    if settings.resize == "pad":
        scale = size / max(height, width)
        height, width = max(1, round(height * scale)), max(1, round(width * scale))
    else:
        height = width = size
    resized = np.array(Image.fromarray(image).resize((width, height), _FILTERS[settings.interpolation]))
    padded = np.zeros((size, size, 3), np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    padded[top : top + height, left : left + width] = resized
    return padded


def unusable(path: Path | str, found: str, remedy: str = "") -> DataError:
    """The error for one file that cannot be used."""
    return DataError(
        f"{display(path)}: expected an image (PNG, JPEG, BMP, TIFF, WebP, DICOM, NIfTI), "
        f"found {found[:100]}; {remedy or 'repair or remove the file'}"
    )


def split_address(path: Path) -> tuple[Path, int]:
    """Return the file and the number of a slice that is written FILE#NUMBER; of other paths itself and 0."""
    stem, mark, number = path.name.rpartition("#")
    if stem and mark and number.isascii() and number.isdecimal() and not os.path.lexists(path):
        return path.with_name(stem), int(number[:9])
    return path, 0


def require_regular(path: Path) -> int:
    """Check, without opening it, that this is a regular file of a size that is read; its bytes.

    Of a slice's address it is the file of the volume.

    Raises:
        DataError: It is missing, a folder, a pipe, a device, empty, or larger than `MAX_BYTES`.
    """
    path, _ = split_address(path)
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise unusable(path, _reason(error)) from error
    if stat.S_ISDIR(status.st_mode):
        try:
            os.scandir(path).close()
        except OSError as error:
            raise DataError(
                f"{display(path)}: cannot be listed ({error.strerror}); check its permissions"
            ) from error
    if not stat.S_ISREG(status.st_mode):
        raise unusable(path, _KINDS.get(stat.S_IFMT(status.st_mode), "a device"))
    require_size(path, status.st_size)
    return status.st_size


def require_size(name: Path | str, size: int) -> None:
    """Check, before it is read, that a file has a size that is read.

    Raises:
        DataError: It is empty, or larger than `MAX_BYTES`.
    """
    if size == 0:
        raise unusable(name, "an empty file")
    if size > MAX_BYTES:
        raise unusable(name, f"{size} bytes, more than the {MAX_BYTES} that are read")


def _decode(
    file: BinaryIO,
    name: Path | str,
    settings: config.Image,
    max_pixels: int,
    frame: int,
    path: Path | None = None,
) -> DecodedImage:
    """Decode an open file by what is in it; of volumes the path is enough for the decoding process."""
    file.seek(0)
    head = file.read(nifti.HEAD_BYTES)
    file.seek(0)
    window = config.parse_window(settings.window)
    windowed = True
    try:
        if dicom.recognised(head[: dicom.HEAD_BYTES]):
            image = dicom.read(path or file.read(), window, max_pixels, frame)
            array, notes = image.pixels, image.notes
        elif nifti.recognised(head):
            of_volume = nifti.read(path or file.read(), window, max_pixels, frame)
            array, notes = np.repeat(of_volume.pixels[..., np.newaxis], 3, axis=2), of_volume.notes
        elif frame:
            raise ImageError("a file that is no volume, so that it has no slice to choose")
        else:
            with readers_quiet(), _opened(file, max_pixels) as opened:
                array, notes, windowed = pixels.read(opened, settings)
    except ImageError as error:
        raise unusable(name, str(error), error.remedy) from None
    return DecodedImage(array, tuple(f"{display(name)}: {note}" for note in notes), windowed)


@contextlib.contextmanager
def _opened(file: BinaryIO, max_pixels: int) -> Iterator[Image.Image]:
    """Open a file with Pillow, and count its pixels before anything is decoded."""
    with Image.open(file, formats=FORMATS) as image:
        if (
            image.width * image.height > max_pixels
        ):  # below that, a small file may as well be a blank or a mask
            raise ImageError(f"{image.width} x {image.height} pixels, more than the {max_pixels:,} allowed")
        yield image


def _reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "none of these, a damaged header, or a form of them that is not decoded"
    if isinstance(error, MemoryError):
        return "an image that does not fit into memory"
    if isinstance(error, Image.DecompressionBombError):
        return "more pixels than Pillow decodes"
    if isinstance(error, OSError) and error.strerror:
        return f"a file that cannot be read ({error.strerror})"
    return f"a damaged image ({display(str(error)) or type(error).__name__})"
