"""95% intervals in closed form, of proportions, means and differences of them, and AUROCs; and `Estimate`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy

CONFIDENCE = 0.95
Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
_EDGE = 1e-9


class Interval(NamedTuple):
    """Lower and upper limit."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A value from n samples with its 95% interval.

    Attributes:
        value: None where it is undefined, like a recall without samples (JSON has no NaN).
        n: Samples that it was computed from.
        low: Lower limit; None where there is no interval, and `note` says why.
        high: Upper limit, likewise.
        note: A caution about the interval; mostly empty.
    """

    value: float | None
    n: int
    low: float | None
    high: float | None
    note: str = ""


def estimate(value: float, n: int, interval: Interval | None, note: str = "") -> Estimate:
    """Return the estimate of a value that may be NaN; without an interval, `note` must say why."""
    if math.isnan(value):
        return Estimate(None, n, None, None, note or "undefined")
    low, high = interval or (None, None)
    return Estimate(value, n, low, high, note)


def wilson(successes: float, n: float, z: float = Z) -> Interval:
    """Return Wilson's score interval of a proportion, without continuity correction.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    J. Am. Stat. Assoc. 22 (1927) 209-212. 162 of 315 gives (0.459, 0.569). It takes the samples as
    independent, which slices of one patient are not: see `wilson_grouped`.

    Returns:
        Lower and upper limit, 0 to 1; (0, 1) without samples.
    """
    if n == 0:
        return Interval(0.0, 1.0)
    p = successes / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = (centre - half) / scale if successes else 0.0  # at the edges exactly, without rounding
    high = (centre + half) / scale if successes < n else 1.0
    return Interval(low, high)


def proportion(k: int, n: int) -> Estimate:
    """Estimate the proportion k / n with Wilson's interval; with n = 0 it is undefined between 0 and 1."""
    return Estimate(k / n if n else None, n, *wilson(k, n))


def wilson_grouped(hits: npt.ArrayLike, groups: npt.NDArray[np.int64]) -> Interval:
    """Return Wilson's interval of a proportion whose samples come in groups, such as slices of a patient.

    The number of samples is divided by the design effect, the factor by which the variance between groups
    exceeds that of independent samples (J. N. K. Rao and A. J. Scott, Biometrics 48 (1992) 577-585); it is
    taken as 1 at least, and where all or none are hits the number of groups takes its place.

    Args:
        hits: (N,) 0 or 1.
        groups: (N,) group of each sample.
    """
    values = np.asarray(hits, dtype=np.float64)
    n, G = len(values), len(np.unique(groups))
    if n == 0 or n == G:
        return wilson(float(values.sum()), n)
    if G == 1:
        return Interval(0.0, 1.0)
    p = float(values.mean())
    residuals = np.bincount(groups, values - p)
    variance = G / (G - 1) * float(residuals @ residuals) / n**2
    effect = variance * n / (p * (1 - p)) if 0 < p < 1 else n / G
    effective = n / max(effect, 1.0)
    z = float(scipy.stats.t.ppf(0.5 + CONFIDENCE / 2, G - 1))
    return wilson(p * effective, effective, z)


def share(hits: npt.ArrayLike, groups: npt.NDArray[np.int64] | None = None) -> Estimate:
    """Estimate the share of hits.

    Args:
        hits: (N,) 0 or 1.
        groups: (N,) group of each sample, of which the interval is; None for independent samples.
    """
    values = np.asarray(hits, dtype=np.float64)
    k, n = int(values.sum()), len(values)
    if groups is None:
        return proportion(k, n)
    return Estimate(k / n if n else None, n, *wilson_grouped(values, groups))


def mean_of_proportions(parts: Sequence[tuple[int, int]]) -> Interval:
    """Return the interval of a mean of independent proportions (hits, n > 0), such as the recalls of classes.

    The distances from each value to its Wilson limits are combined as standard errors are: the method of
    variance estimates recovery (MOVER), G. Y. Zou and A. Donner, Stat. Med. 27 (2008) 1693-1702.
    """
    values = [k / n for k, n in parts]
    limits = [wilson(k, n) for k, n in parts]
    middle, C = math.fsum(values) / len(parts), len(parts)
    below = math.hypot(*(v - limit.low for v, limit in zip(values, limits, strict=True))) / C
    above = math.hypot(*(limit.high - v for v, limit in zip(values, limits, strict=True))) / C
    return Interval(max(0.0, middle - below), min(1.0, middle + above))


def paired_difference(only_first: int, only_second: int, n: int) -> Interval:
    """Return the interval of the difference of two proportions on the same n samples.

    Adjusted Wald interval of D. G. Bonett and R. M. Price, J. Educ. Behav. Stat. 37 (2012) 479-488: one
    sample is added to each of the two kinds of discordant samples.
    """
    first, second = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    half = Z * math.sqrt((first + second - (first - second) ** 2) / (n + 2))
    return Interval(max(-1.0, first - second - half), min(1.0, first - second + half))


def auroc_interval(value: float, variance: float, positives: int, negatives: int) -> Interval:
    """Return the interval of an area under the ROC curve, symmetric on the logit scale.

    Where the variance is 0 (all pairs in order, or all scores equal) it is method 5 of R. G. Newcombe,
    Stat. Med. 25 (2006) 559-573, which is defined at 0 and 1 too.

    Args:
        value: The area, 0 to 1.
        variance: As `metrics.auroc_variance` estimates it.
        positives: Number of samples of the class.
        negatives: Number of the others.
    """
    if variance <= 0 or not 0 < value < 1:
        return _newcombe_area(value, positives, negatives)
    half = Z * math.sqrt(variance) / (value * (1 - value))
    logit = math.log(value / (1 - value))
    return Interval(*(1 / (1 + math.exp(-side)) for side in (logit - half, logit + half)))


def _newcombe_area(value: float, positives: int, negatives: int) -> Interval:
    extra = (positives + negatives) / 2 - 1

    def excess(theta: float) -> float:
        """Squared distance from the value minus what the interval allows at theta; 0 at its limits."""
        spread = 1 + extra * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return (value - theta) ** 2 - Z * Z * theta * (1 - theta) * spread / (positives * negatives)

    inner = min(max(value, _EDGE), 1 - _EDGE)  # at 0 and 1 the excess is 0 whatever the value
    low = float(scipy.optimize.brentq(excess, 0.0, inner)) if value > 0 else 0.0
    high = float(scipy.optimize.brentq(excess, inner, 1.0)) if value < 1 else 1.0
    return Interval(low, high)
