"""Convert any of Pillow's pixel modes to 8-bit RGB, so that an image gives one array however it is stored.

1, L, P, RGB, CMYK, YCbCr    Pillow's own conversion; embedded colour profiles are not applied
any of them with alpha       composited on black, the background of a CT: round(value * alpha / 255);
                             refused if nothing of it can be seen
grey of more than 8 bits     through the window that the settings name; otherwise
  whole numbers of 16 bits   value >> (depth - 8), in every byte order, see `_depth`
  floats from 0 to 1         round(value * 255)
  other values               refused: they have no agreed form in 8 bits
colour of 16 bits            value >> 8 (Pillow does it); refused if that is nearly black
LAB, anything else           refused
"""

import contextlib
import ctypes
import io
import re
import struct
import threading
import warnings
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin, _imaging

from tumorboard import config
from tumorboard.data import grey
from tumorboard.errors import ImageError

Pixels = npt.NDArray[np.uint8]

_SIXTEEN = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_EIGHT = frozenset({"1", "L", "P", "LA", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"})
_BITS = {"1": 1, "I": 32, "F": 32}
_PACKED_BITS = re.compile(r";(\d+)")
_ORIENTATION = 0x0112
# Tags of TIFF.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_LARGEST_SAMPLE = (341, 281)  # SMaxSampleValue, MaxSampleValue
_LARGEST = {(1 << bits) - 1 for bits in range(8, 16)}
_SIGNED = 2
_SURE = 1 << 14  # values from here need the last of `config.DEPTHS`
_DARK = 16  # grey levels of 255
_PNG_BEGINS = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNKS = 100

_NO_WINDOW = "train with --window=CENTER,WIDTH; lung in Hounsfield units is -600,1500"
_SHIFTED = "for Hounsfield units plus 32,768 lung is 32168,1500"


def read(image: Image.Image, settings: config.Image) -> tuple[Pixels, tuple[str, ...], bool]:
    """Decode an open image of any mode.

    Args:
        image: From `Image.open`, not decoded yet.
        settings: The window and the depth of grey.

    Returns:
        uint8 (H, W, 3), 0-255, upright; what a user should know; whether a window may change the image.

    Raises:
        ImageError: Values that do not fit the settings, LAB, or nothing that can be seen.
    """
    bits = stored_bits(image)
    significant = _significant_bits(image, bits)
    _refuse_ambiguous(image)
    image.load()
    notes: list[str] = []
    if getattr(image, "is_animated", False):
        notes.append("has more than one frame or page; only the first is read")
    values = _deep_grey(image, settings)
    if values is None:
        rgb = _to_rgb(image)
        if bits == 16 and image.format != "BMP":  # whose 16 bits are those of all three channels
            _require_bright(rgb, settings)
    else:
        shades, about_grey = _to_grey(image, values, significant, settings)
        rgb, notes = np.repeat(shades[..., np.newaxis], 3, axis=2), notes + about_grey
    return _upright(rgb, image), tuple(notes), values is not None


def largest_undeclared(image: Image.Image) -> int:
    """Return the largest value of an open image of 16 bits that declares no depth; 0 for any other image."""
    bits = stored_bits(image)
    significant = _significant_bits(image, bits)
    if bits <= 8 or image.format == "BMP":
        return 0
    image.load()
    values = _deep_grey(image, config.Image())
    if values is None:  # colour, of which Pillow leaves the highest 8 bits
        brightest = int(_to_rgb(image).max())
        return brightest << 8 | 0xFF if brightest and bits == 16 else 0
    visible = _visible(image, values)
    if values.dtype.kind == "f" or visible.min() < 0 or visible.max() > 0xFFFF:
        return 0
    return 0 if _declared_depth(image, visible, significant) else int(visible.max())


def stored_bits(image: Image.Image) -> int:
    """Return the bits of each value as stored, before the image is decoded.

    Pillow shows some 16-bit pixels as 8-bit ones, but not where it says how they are packed.
    """
    for tile in image.tile:  # type: ignore[attr-defined]
        raw = tile[3][0] if isinstance(tile[3], tuple) else tile[3]
        packed = _PACKED_BITS.search(str(raw))
        if packed:
            return int(packed[1])
    return 16 if image.mode.startswith("I;16") else _BITS.get(image.mode, 8)


def _significant_bits(image: Image.Image, bits: int) -> int:
    """Return how many of the stored bits the header declares to be used; 0 if it does not say."""
    if bits <= 8:
        return 0
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        if bits < 16:
            return bits
        for tag in _LARGEST_SAMPLE:
            content = image.tag_v2.get(tag)
            for largest in content if isinstance(content, tuple) else (content,):
                # Other values than 1023, 4095 ... are the largest of this image, which others may exceed.
                if largest in _LARGEST:
                    return int(largest).bit_length()
    if image.format == "PNG" and image.fp:  # type: ignore[attr-defined]
        return _png_significant_bits(image.fp)  # type: ignore[attr-defined]
    return 0


def _png_significant_bits(file: BinaryIO) -> int:
    """Read the chunk sBIT, which Pillow skips; the file's position stays."""
    position = file.tell()
    file.seek(len(_PNG_BEGINS))
    try:
        for _ in range(_PNG_CHUNKS):  # it comes before the pixels
            length, kind = struct.unpack(">I4s", file.read(8))
            if kind == b"sBIT":
                return max(file.read(length)[:4], default=0)
            if kind == b"IDAT":
                return 0
            file.seek(length + 4, io.SEEK_CUR)
    except struct.error:
        pass  # cut off
    finally:
        file.seek(position)
    return 0


def _deep_grey(image: Image.Image, settings: config.Image) -> npt.NDArray[Any] | None:
    """Return the values of grey that is not stored as 8 unsigned bits; None for any other image."""
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    signed = tags.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED
    if image.mode == "I" and tags.get(_BITS_PER_SAMPLE) == (32,) and not signed:
        return np.asarray(image).view(np.uint32)  # Pillow has signed ones only
    if image.mode in _SIXTEEN or image.mode in ("I", "F"):
        return np.asarray(image)
    if image.mode == "L" and signed and settings.depth != "stored":
        return np.asarray(image).view(np.int8)
    return None


def _to_grey(
    image: Image.Image, values: npt.NDArray[Any], significant: int, settings: config.Image
) -> tuple[Pixels, list[str]]:
    """Make values grey, uint8 (H, W), 0-255, through the window or by their depth; and notes."""
    notes: list[str] = []
    visible = _visible(image, values)
    low, high = visible.min().item(), visible.max().item()
    if not np.isfinite(low + high):
        raise ImageError("floating-point pixels without a value (NaN or infinity)")
    fractional = values.dtype.kind == "f"
    sixteen_bits = not fractional and low >= 0 and high <= 0xFFFF
    window = config.parse_window(settings.window)
    if window and sixteen_bits and settings.depth == "stored":
        window = None
    if window and window.hounsfield and image.mode in _SIXTEEN:
        notes.append(f"has unsigned values, no Hounsfield units: the window {window.name} is not applied")
        window = None
    if window:
        shades = grey.shaded(values, grey.linear(window.center, window.width), low, high)
    elif fractional and low >= 0 and high <= 1:
        shades = np.rint(values * 255).astype(np.uint8)
    elif sixteen_bits:
        depth = _depth(high, _declared_depth(image, visible, significant), settings)
        shades = (values >> (depth - 8)).astype(np.uint8)
    else:
        raise ImageError(f"values from {low:.6g} to {high:.6g}, which need a window", _NO_WINDOW)
    if grey.contrast_is_lost(visible, shades):
        shifted = f" ({_SHIFTED})" if not window and 1 << 15 <= high < 5 << 13 else ""
        notes.append(grey.LOST_CONTRAST + shifted)
    elif not window and 0 < int(shades.max()) < _DARK:
        notes.append(f"has values up to {high:.6g} only, so few of its bits that it is nearly black")
    # Pillow inverts white-is-zero TIFFs of 8 bits, but no others.
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == 0:
        shades = 255 - shades
    if visible.size < values.size:
        shades[values == image.info["transparency"]] = 0
    return shades, notes


def _visible(image: Image.Image, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Leave out the values that are transparent."""
    transparent = image.info.get("transparency")
    visible = values[values != transparent] if isinstance(transparent, int) else values
    _require_visible(visible.size > 0)
    return visible


def _declared_depth(image: Image.Image, values: npt.NDArray[Any], significant: int) -> int:
    """Return the depth that the file declares; 0 if it declares none, or one that is wrong."""
    largest = int(values.max())
    if values.dtype == np.int8:
        return 8
    if image.format != "PNG":
        return significant if largest < 1 << significant else 0
    if not significant:
        return 0
    # The standard has values scaled up to 16 bits, so that the lowest repeat the highest or are 0.
    if largest >= 1 << significant or not (values & 0xFFFF >> significant).any():
        return 16
    return significant if significant >= 8 else 0


def _depth(largest: int, declared: int, settings: config.Image) -> int:
    """Return how many of the 16 bits of an image hold its values."""
    if settings.depth == "stored":
        return 16
    if declared:
        return declared
    if settings.depth != "auto":
        if largest >= 1 << settings.depth:
            raise ImageError(
                f"16-bit grey up to {largest}, more than the {settings.depth} bits of the training images",
                "export it as they were, or train with another image.depth",
            )
        return settings.depth
    if 0 < largest < _SURE:
        raise ImageError(
            f"16-bit grey up to {largest}, whose depth neither it nor the training images tell",
            "save it with 8 bits, or with its depth (PNG sBIT)",
        )
    return 16


def _require_bright(rgb: Pixels, settings: config.Image) -> None:
    """Refuse 16-bit colour of fewer bits, of which only the highest 8 are left: it would be nearly black."""
    brightest = int(rgb.max())
    if 0 < brightest < _SURE >> 8 and settings.depth not in ("stored", 16):
        raise ImageError(
            f"16-bit colour up to {brightest << 8 | 0xFF}, which would be nearly black",
            "save it with 8 bits, or train with image.depth = 16",
        )


def _to_rgb(image: Image.Image) -> Pixels:
    """Convert a decoded image of 8 bits per value to uint8 (H, W, 3), 0-255."""
    if image.mode not in _EIGHT:
        raise ImageError(f"pixels of mode {image.mode}, which have no agreed form in 8 bits")
    if not image.has_transparency_data:
        return np.array(image.convert("RGB"))
    rgba = image.convert("RGBA")
    alpha = rgba.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return np.array(rgba.convert("RGB"))  # as most files with alpha are: the same pixels, sooner
    _require_visible(alpha.getbbox() is not None)
    black = Image.new("RGB", image.size)
    black.paste(rgba.convert("RGB"), mask=alpha)
    return np.array(black)


def _require_visible(visible: bool) -> None:
    """Raise ImageError unless a pixel can be seen: a black image would get a prediction."""
    if not visible:
        raise ImageError("an image that is wholly transparent")


def _refuse_ambiguous(image: Image.Image) -> None:
    """Refuse, before decoding, 16-bit colour with one transparent colour.

    Pillow compares that 16-bit colour with 8-bit pixels.
    """
    rawmodes = {str(tile[3][0] if isinstance(tile[3], tuple) else tile[3]) for tile in image.tile}  # type: ignore[attr-defined]
    if "transparency" in image.info and rawmodes & {"RGB;16B", "RGB;16L"}:
        raise ImageError("16-bit colour with one transparent colour", "save it with an alpha channel")


def _upright(pixels: Pixels, image: Image.Image) -> Pixels:
    """Turn as the EXIF orientation says; Pillow has turned TIFFs already, on loading."""
    orientation = image.getexif().get(_ORIENTATION, 1)
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


_lock = threading.Lock()
_filters = contextlib.ExitStack()
_readers = 0


def _silence_libtiff() -> None:
    """Let libtiff write nothing to standard error: its error reaches us through Pillow."""
    for handler in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        with contextlib.suppress(OSError, AttributeError):  # a Pillow that contains it under no name
            getattr(ctypes.CDLL(_imaging.__file__), handler)(None)


_silence_libtiff()


@contextlib.contextmanager
def readers_quiet() -> Iterator[None]:
    """Ignore Pillow's warnings while any thread reads, and leave the process's filters as they were.

    `warnings.catch_warnings` alone is not safe in threads that overlap: the last to leave may restore
    another's filters. So the first reader sets them and the last one restores them.
    """
    global _readers
    with _lock:
        if _readers == 0:
            _filters.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _readers += 1
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if _readers == 0:
                _filters.close()
