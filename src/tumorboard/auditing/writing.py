"""Writing burned into a picture: small bright signs of one height in a row, on a dark ground."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from tumorboard.data.pixels import Pixels

# Grey levels, 0-255: how bright a sign is, how far above what lies near it, and how dark its ground.
_BRIGHT, _ABOVE, _GROUND = 90, 50, 40
_NEAR = 9  # pixels; strokes of letters are thinner
_SMALLEST, _TALLEST = 5, 0.08  # of a sign: pixels, and share of the picture's height
_EIGHT = np.ones((3, 3), np.bool_)

_Box = tuple[int, int, int, int]  # top, bottom, left, right


def longest_row(image: Pixels) -> int:
    """How many signs stand in the longest row; one or two are as often anatomy as writing.

    Args:
        image: uint8 (H, W, 3), 0-255.
    """
    red, green, blue = (np.ascontiguousarray(image[..., channel]) for channel in range(3))
    signs = sorted(_signs(np.maximum(np.maximum(red, green), blue)), key=lambda box: box[2])
    return max((_row_from(index, signs) for index in range(len(signs))), default=0)


def _signs(grey: npt.NDArray[np.uint8]) -> Iterator[_Box]:
    """Boxes of what has the size of a letter, is not a filled block, and stands on a dark ground."""
    ground = ndimage.minimum_filter(grey, size=_NEAR)
    bright = (grey >= _BRIGHT) & (grey - ground >= _ABOVE) & (ground <= _GROUND)
    labels, _ = ndimage.label(bright, _EIGHT)
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if not (_SMALLEST <= height <= _TALLEST * len(grey) + 4 and width <= 1.6 * height + 2):
            continue
        around = np.s_[max(rows.start - 2, 0) : rows.stop + 2, max(columns.start - 2, 0) : columns.stop + 2]
        sign = labels[around] == number
        filled = width >= 3 and sign.sum() > 0.85 * height * width
        if not filled and _is_dark(grey[around][~ndimage.binary_dilation(sign, _EIGHT, iterations=2)]):
            yield rows.start, rows.stop, columns.start, columns.stop


def _is_dark(ground: npt.NDArray[np.uint8]) -> bool:
    return ground.size >= 4 and bool(np.percentile(ground, 75) <= _GROUND)


def _row_from(first: int, signs: list[_Box]) -> int:
    """Signs to the right of the first, each on the line of the last one, of its height and near it."""
    height, count, last = signs[first][1] - signs[first][0], 1, signs[first]
    for box in signs[first + 1 :]:
        level = abs(box[1] - last[1]) <= max(2, height / 4)
        alike = abs(box[1] - box[0] - height) <= max(2, 0.35 * height)
        if level and alike and 0 <= box[2] - last[3] <= 1.2 * height:
            count, last = count + 1, box
    return count
