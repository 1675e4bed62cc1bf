"""A figure is never alone: it comes with its number of samples and its interval."""

import math
from dataclasses import dataclass

from tumorboard.evaluation.intervals import Interval, wilson


@dataclass(frozen=True)
class Measure:
    """A figure of n samples with its 95 % interval.

    Attributes:
        value: None where it is undefined, as a recall without samples (JSON has no NaN).
        n: Samples that it is of.
        low: Lower limit; None where an interval is refused, and `note` says why.
        high: Upper limit, likewise.
        note: What to know of the interval; mostly nothing.
    """

    value: float | None
    n: int
    low: float | None
    high: float | None
    note: str = ""


def measured(value: float, n: int, interval: Interval | None, note: str = "") -> Measure:
    """A measure of a float that may be NaN; without an interval, `note` must say why."""
    if math.isnan(value):
        return Measure(None, n, None, None, note or "undefined")
    low, high = interval or (None, None)
    return Measure(value, n, low, high, note)


def share(k: int, n: int) -> Measure:
    """The proportion k / n with Wilson's interval; of none, undefined between 0 and 1."""
    return Measure(k / n if n else None, n, *wilson(k, n))
