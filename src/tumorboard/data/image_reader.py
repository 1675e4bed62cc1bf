"""The one reader of images: training, evaluation, prediction and the audit see the same pixels.

A file is hostile until it is decoded: only regular files are opened, only six formats are tried (by
content, not by name), the header is read and the pixels counted before anything is decoded, and
whatever a decoder raises leaves here as one `DataError` that names the file.
"""

import io
import stat
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from tumorboard import config
from tumorboard.data import pixels
from tumorboard.data.dicom import picture
from tumorboard.data.dicom.elements import DicomError
from tumorboard.data.dicom.head import HEAD_BYTES, recognised
from tumorboard.data.pixels import FAILURES, Pixels, readers_quiet
from tumorboard.errors import DataError

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
MAX_PIXELS = 100_000_000
MAX_BYTES = 1 << 30
"""A larger file is refused unread: 100 million pixels of 16-bit RGBA fit into it."""

# No real picture beyond 5 million pixels is this empty; what claims to be costs seconds and half a gigabyte.
_UNSUSPICIOUS = 5_000_000
_PIXELS_PER_BYTE = 500
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


def read_image(path: Path, *, window: str = "", max_pixels: int = MAX_PIXELS) -> Pixels:
    """Read an image of any supported format and mode.

    Alpha is composited on black, 16-bit grey becomes `value >> 8`, EXIF orientation is applied, of several
    frames the first is read (module `modes` holds the rules). Embedded colour profiles are not applied.

    Args:
        path: A regular file: PNG, JPEG, BMP, TIFF, WebP or DICOM by content; its name does not matter.
        window: Of DICOM: "" for the file's own, "lung", "mediastinum" or "CENTER,WIDTH".
        max_pixels: More than this are refused before decoding.

    Returns:
        uint8 (H, W, 3), RGB, 0-255.

    Raises:
        DataError: Not a regular file, not such an image, damaged, or too large.
    """
    return read_with_notes(path, window=window, max_pixels=max_pixels)[0]


def read_with_notes(
    path: Path, *, window: str = "", max_pixels: int = MAX_PIXELS
) -> tuple[Pixels, tuple[str, ...]]:
    """As `read_image`, with what the user should know, such as further frames or nearly black images.

    Raises:
        DataError: As `read_image`.
    """
    require_regular(path)  # before opening: opening a pipe would wait for a writer for ever
    try:
        # A file object: given a name, Pillow may map the file, and a mapped file that shrinks kills us.
        with path.open("rb") as file:
            return read_open(file, path, window=window, max_pixels=max_pixels)
    except FAILURES as error:
        raise unusable(path, _reason(error)) from error


def read_bytes(
    content: bytes, name: str, *, window: str = "", max_pixels: int = MAX_PIXELS
) -> tuple[Pixels, tuple[str, ...]]:
    """As `read_with_notes`, of a file that is in memory; `name` is what errors and notes call it.

    Raises:
        DataError: As `read_image`.
    """
    if not content:
        raise unusable(name, "an empty file")
    return read_open(io.BytesIO(content), name, window=window, max_pixels=max_pixels)


def read_open(
    file: BinaryIO, name: Path | str, *, window: str = "", max_pixels: int = MAX_PIXELS
) -> tuple[Pixels, tuple[str, ...]]:
    """As `read_with_notes`, of an open file; `name` is what errors and notes call it.

    Raises:
        DataError: As `read_image`.
    """
    try:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        return _decoded(file, name, size, window, max_pixels)
    except FAILURES as error:
        raise unusable(name, _reason(error)) from error


def display(path: Path | str) -> str:
    """A path as it may stand in a one-line message: printable, and only its end if it is long."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(path))
    return text if len(text) <= 100 else f"...{text[-97:]}"


def unusable(path: Path | str, found: str, remedy: str = "") -> DataError:
    """The error for one file that cannot be used."""
    return DataError(
        f"{display(path)}: expected an image (PNG, JPEG, BMP, TIFF, WebP, DICOM), found {found[:100]}; "
        f"{remedy or 'repair or remove the file'}"
    )


def require_regular(path: Path) -> int:
    """Check, without opening it, that this is a regular file of a size that is read; its bytes.

    Raises:
        DataError: It is missing, a folder, a pipe, a device, empty, or larger than `MAX_BYTES`.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise unusable(path, _reason(error)) from error
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


def _decoded(
    file: BinaryIO, name: Path | str, file_bytes: int, window: str, max_pixels: int
) -> tuple[Pixels, tuple[str, ...]]:
    """The pixels and the notes of an open file, by what is in it."""
    with readers_quiet():
        dicom_file = recognised(file.read(HEAD_BYTES))
        file.seek(0)
        if dicom_file:
            pixels, notes = _dicom(file, name, window, max_pixels)
        else:
            pixels, notes = _picture(file, file_bytes, max_pixels)
    return pixels, tuple(f"{display(name)}: {note}" for note in notes)


def _picture(file: BinaryIO, file_bytes: int, max_pixels: int) -> tuple[Pixels, tuple[str, ...]]:
    with Image.open(file, formats=FORMATS) as image:
        _require_pixels(image, file_bytes, max_pixels)
        pixels.refuse_ambiguous(image)
        image.load()
        return pixels.upright(image), pixels.notes(image)


def _dicom(file: BinaryIO, name: Path | str, window: str, max_pixels: int) -> tuple[Pixels, tuple[str, ...]]:
    """As `_picture`; errors of other packages are not chained, for they may quote the header."""
    try:
        found = picture.read(file, config.parse_window(window), max_pixels)
    except DicomError as error:
        raise unusable(name, str(error), error.remedy) from None
    except FAILURES as error:
        raise unusable(name, f"a damaged DICOM file ({type(error).__name__})") from None
    return found.pixels, found.notes


def _require_pixels(image: Image.Image, file_bytes: int, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise pixels.UnsupportedPixelsError(
            f"{image.width} x {image.height} pixels, more than the {max_pixels:,} allowed"
        )
    if image.width * image.height > max(_UNSUSPICIOUS, _PIXELS_PER_BYTE * file_bytes):
        raise pixels.UnsupportedPixelsError(
            f"{image.width} x {image.height} pixels in {file_bytes} bytes: damaged, or a decompression bomb"
        )


def _reason(error: BaseException) -> str:
    if isinstance(error, pixels.UnsupportedPixelsError):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return "none of these, or a damaged header"
    if isinstance(error, MemoryError):
        return "an image that does not fit into memory"
    if isinstance(error, Image.DecompressionBombError):
        return "more pixels than Pillow decodes"
    if isinstance(error, OSError) and error.strerror:
        return f"a file that cannot be read ({error.strerror})"
    return f"a damaged image ({display(str(error)) or type(error).__name__})"


def read_input(path: str | Path, rule: config.Image) -> Pixels:
    """Read an image and resize it: uint8 (size, size, 3), 0-255.

    Args:
        path: PNG, JPEG, BMP, TIFF, WebP or DICOM.
        rule: The contract's: size, resize rule, and the window of DICOM.

    Raises:
        DataError: Not such an image, damaged, or too large.
    """
    return to_input(read_image(Path(path), window=rule.window), rule)


def input_of_bytes(
    content: bytes, name: str, rule: config.Image, max_pixels: int = MAX_PIXELS
) -> tuple[Pixels, tuple[str, ...]]:
    """As `read_input`, of a file in memory, with what the user should know about it.

    Args:
        content: The file's bytes.
        name: What errors and notes call it.
        rule: The contract's: size, resize rule, and the window of DICOM.
        max_pixels: More than this are refused before decoding.

    Raises:
        DataError: As `read_input`.
    """
    pixels, notes = read_bytes(content, name, window=rule.window, max_pixels=max_pixels)
    return to_input(pixels, rule), notes


_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}


def to_input(image: Pixels, rule: config.Image) -> Pixels:
    """Resize to the network's input, antialiased: stretched, or padded with black around the centre.

    Args:
        image: uint8 (H, W, 3), 0-255.
        rule: Size, way of resizing and filter.

    Returns:
        uint8 (size, size, 3), 0-255.
    """
    height, width = image.shape[:2]
    if rule.resize == "stretch":
        return _resized(image, rule.size, rule.size, rule.interpolation)
    scale = rule.size / max(height, width)
    inner = _resized(image, max(1, round(height * scale)), max(1, round(width * scale)), rule.interpolation)
    padded = np.zeros((rule.size, rule.size, 3), np.uint8)
    top, left = (rule.size - inner.shape[0]) // 2, (rule.size - inner.shape[1]) // 2
    padded[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return padded


def _resized(image: Pixels, height: int, width: int, interpolation: str) -> Pixels:
    return np.array(Image.fromarray(image).resize((width, height), _FILTERS[interpolation]))
