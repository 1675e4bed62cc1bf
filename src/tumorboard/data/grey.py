"""From values of any range to 8 bits of grey, of every format: windows, and where contrast is lost."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[Any]
"""Numbers of any type."""

Rule = Callable[[Values], Values]
"""Floats to grey, 0-255, not rounded."""

_TABLE = 1 << 16
_FEW, _MANY = 32, 4  # levels of grey, and how many times as many values

LOST_CONTRAST = (
    "loses most of its grey levels as it is read; train with a --window=CENTER,WIDTH that keeps them"
)


def linear(center: float, width: float) -> Rule:
    """Black up to center - 0.5 - (width - 1) / 2, white above center - 0.5 + (width - 1) / 2.

    As DICOM defines it (PS3.3 C.11.2.1.2); a width below 1 is exact (C.11.2.1.3).
    """
    if width < 1:
        return stretch(center - width / 2, center + width / 2)
    return stretch(center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2)


def stretch(low: float, high: float) -> Rule:
    """Black up to `low`, white from `high`; if they are equal, white above."""
    if high == low:
        return lambda values: np.where(values > low, 255.0, 0.0)
    return lambda values: np.clip((values - low) / (high - low), 0, 1) * 255


def shaded(values: Values, rule: Rule, low: float, high: float) -> npt.NDArray[np.uint8]:
    """Apply a rule and round; integers of a small range go through a table, not each through floats.

    Args:
        values: Of any shape.
        rule: How they become grey.
        low: Integers below are taken for this one.
        high: Integers above are taken for this one.

    Returns:
        uint8 of the same shape, 0-255.
    """
    if values.dtype.kind == "f":
        return np.rint(rule(values)).astype(np.uint8)
    if high - low >= _TABLE:
        return np.rint(rule(values.astype(np.float64))).astype(np.uint8)
    table = np.rint(rule(np.arange(low, high + 1, dtype=np.float64))).astype(np.uint8)
    return table[np.clip(values.astype(np.int64), int(low), int(high)) - int(low)]


def contrast_is_lost(values: Values, pixels: npt.NDArray[np.uint8]) -> bool:
    """Check whether an image has few levels, 0-255, while its file has several times as many values."""
    levels = int(np.count_nonzero(np.bincount(pixels.ravel(), minlength=256)))
    return levels < _FEW and len(np.unique(values)) >= _MANY * levels
