"""Figures as text: three decimals, and the 95 % interval in brackets."""

from typing import Protocol

UNDEFINED = "n/a"


class Figure(Protocol):
    """A value of n samples with its interval; None where it is undefined."""

    @property
    def value(self) -> float | None:
        """The figure itself."""

    @property
    def n(self) -> int:
        """Samples that it is of."""

    @property
    def low(self) -> float | None:
        """Lower limit."""

    @property
    def high(self) -> float | None:
        """Upper limit."""


def shown(one: Figure | float | None) -> str:
    """Such as "0.833 (0.720 to 0.907)"; of a bare number the number."""
    if one is None or isinstance(one, int | float):
        return UNDEFINED if one is None else f"{one:.3f}"
    if one.value is None:
        return UNDEFINED
    if one.low is None or one.high is None:
        return f"{one.value:.3f} (no interval)"
    return f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"


def percent(share: float) -> str:
    """Such as "95 %"."""
    return f"{100 * share:.0f} %"


def of_n(one: Figure) -> str:
    """With the number of samples."""
    return f"{shown(one)}, n = {one.n}"


def counted(one: Figure) -> str:
    """A proportion as a count, such as "50 of 60 images"."""
    return f"{round((one.value or 0.0) * one.n)} of {one.n} images"
