"""From a file to what a network takes, as its contract says; the way that training images went too."""

from pathlib import Path

from tumorboard import recipe
from tumorboard.data.modes import Pixels
from tumorboard.data.reading import MAX_PIXELS, read_bytes, read_image
from tumorboard.data.resizing import to_input


def read_input(path: str | Path, rule: recipe.Image) -> Pixels:
    """Read an image and resize it: uint8 (size, size, 3), 0-255.

    Args:
        path: PNG, JPEG, BMP, TIFF, WebP or DICOM.
        rule: The contract's: size, resize rule, and the window of DICOM.

    Raises:
        DataError: Not such an image, damaged, or too large.
    """
    return to_input(read_image(Path(path), window=rule.window), rule)


def input_of_bytes(
    content: bytes, name: str, rule: recipe.Image, max_pixels: int = MAX_PIXELS
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
