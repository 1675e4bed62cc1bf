"""From a file to what a network takes, as its contract says; the way that training images went too."""

from pathlib import Path

from tumorboard import recipe
from tumorboard.data.modes import Pixels
from tumorboard.data.reading import read_image, to_input


def read_input(path: str | Path, rule: recipe.Image) -> Pixels:
    """Read an image and resize it: uint8 (size, size, 3), 0-255.

    Args:
        path: PNG, JPEG, BMP, TIFF, WebP or DICOM.
        rule: The contract's: size, resize rule, and the window of DICOM.

    Raises:
        DataError: Not such an image, damaged, or too large.
    """
    return to_input(read_image(Path(path), window=rule.window), rule)
