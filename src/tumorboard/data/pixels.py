"""Convert any of Pillow's pixel modes to 8-bit RGB, so that an image gives one array however it is stored.

1, L, P, RGB, CMYK, YCbCr    Pillow's own conversion; embedded colour profiles are not applied
any of them with alpha       composited on black, the background of a CT: round(value * alpha / 255);
                             refused if nothing of it can be seen
16-bit grey                  value >> 8, in every byte order; 16-bit colour likewise (Pillow does it)
32-bit integers              as 16-bit grey when all values fit 16 bits, otherwise refused
floats, LAB, anything else   refused: they have no agreed range or form in 8 bits
"""

import contextlib
import threading
import warnings
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

Pixels = npt.NDArray[np.uint8]

_SIXTEEN = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_EIGHT = frozenset({"1", "L", "P", "LA", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"})
_DARK = 4096
_PHOTOMETRIC = 262
_ORIENTATION = 0x0112


class UnsupportedPixelsError(ValueError):
    """Pixels that have no agreed form in 8 bits; the message continues "found ..."."""


def to_rgb(image: Image.Image) -> Pixels:
    """Convert a decoded image of any mode to uint8 (H, W, 3), 0-255.

    Raises:
        UnsupportedPixelsError: Floats, LAB, integers beyond 16 bits, or a wholly transparent image.
    """
    if image.mode in _SIXTEEN or image.mode == "I":
        values = _sixteen_bits(image)
        grey = (values >> 8).astype(np.uint8)
        transparent = image.info.get("transparency")
        if isinstance(transparent, int):
            _require_visible(bool((values != transparent).any()))
            grey[values == transparent] = 0
        return np.repeat(grey[..., np.newaxis], 3, axis=2)
    if image.mode not in _EIGHT:
        raise UnsupportedPixelsError(f"pixels of mode {image.mode}, which have no agreed form in 8 bits")
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
    """Raise UnsupportedPixelsError unless a pixel can be seen: a black image would get a prediction."""
    if not visible:
        raise UnsupportedPixelsError("an image that is wholly transparent")


def refuse_ambiguous(image: Image.Image) -> None:
    """Refuse, before decoding, what Pillow would get wrong in silence.

    Raises:
        UnsupportedPixelsError: 16-bit colour with one transparent colour: Pillow compares that 16-bit
            colour with 8-bit pixels.
    """
    rawmodes = {str(tile[3][0] if isinstance(tile[3], tuple) else tile[3]) for tile in image.tile}  # type: ignore[attr-defined]
    if "transparency" in image.info and rawmodes & {"RGB;16B", "RGB;16L"}:
        raise UnsupportedPixelsError(
            "16-bit colour with one transparent colour; save it with an alpha channel"
        )


def notes(image: Image.Image) -> tuple[str, ...]:
    """List what a user should know about an image that is read all the same."""
    lines = []
    if getattr(image, "is_animated", False):
        lines.append("has more than one frame or page; only the first is read")
    if image.mode in _SIXTEEN or image.mode == "I":
        brightest = int(_sixteen_bits(image).max())
        if 0 < brightest < _DARK:
            lines.append(f"16-bit values up to {brightest} only; read as value >> 8 it is nearly black")
    return tuple(lines)


def _sixteen_bits(image: Image.Image) -> npt.NDArray[np.integer]:
    values = np.asarray(image)
    if image.mode == "I" and (values.min() < 0 or values.max() > 0xFFFF):
        raise UnsupportedPixelsError(
            f"32-bit values from {values.min()} to {values.max()}, which do not fit 16 bits; "
            "save it with 8 or 16 bits"
        )
    # Pillow inverts white-is-zero TIFFs of 8 bits, but not those of 16.
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == 0:
        return 0xFFFF - values
    return values


def upright(image: Image.Image) -> Pixels:
    """Convert to RGB, turned as the EXIF orientation says; Pillow has turned TIFFs already, on loading."""
    pixels = to_rgb(image)
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
