"""Intervals by resampling, for figures that have no formula: many resamples are computed at once as weights.

A statistic is a function of weights (B, N), how often each sample counts in each of B resamples, to (B,)
values. Draws are made within classes, so that no class is lost, or of whole groups. They come from a fixed
seed: the same samples in the same order give the same interval.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from tumorboard.evaluation import metrics
from tumorboard.evaluation.intervals import CONFIDENCE, Interval
from tumorboard.predictions import Predictions

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], Floats]

REPLICATES = 1000
_BLOCK = 4_000_000
"""Weights held at a time, to bound memory."""
_JACKKNIFE = 200
"""Parts that are left out in turn; with more units than that, several are left out together."""
_LOST = 0.05
"""Share of resamples that may leave a statistic undefined."""


@dataclass(frozen=True, eq=False)
class Resamples:
    """How to draw from N samples.

    Args:
        labels: (N,) classes, which are the strata.
        groups: (N,) group of each sample, 0 to G-1 all occurring, or None; groups are drawn whole.
    """

    labels: Indices
    groups: Indices | None = None

    @functools.cached_property
    def _units(self) -> tuple[Indices, Indices]:
        """The unit of each sample, and the stratum of each unit.

        A group is of its samples' class if every group has but one class; otherwise there is one stratum.
        """
        if self.groups is None:
            return np.arange(len(self.labels)), self.labels
        G = int(self.groups.max()) + 1
        lowest, highest = np.full(G, np.iinfo(np.int64).max), np.full(G, -1)
        np.minimum.at(lowest, self.groups, self.labels)
        np.maximum.at(highest, self.groups, self.labels)
        return self.groups, lowest if (lowest == highest).all() else np.zeros(G, np.int64)

    def values(self, statistic: Statistic) -> Floats:
        """(REPLICATES,) values of the statistic, the same resamples for every statistic."""
        blocks = [self._kept] if len(self.labels) * REPLICATES <= _BLOCK else self._draws()
        return np.concatenate([statistic(weights) for weights in blocks])

    @functools.cached_property
    def _kept(self) -> Floats:
        """All draws, where they are few enough to keep for the next statistic."""
        return next(self._draws())

    def _draws(self) -> Iterator[Floats]:
        unit_of, strata = self._units
        random, size = np.random.default_rng(0), max(1, _BLOCK // max(1, len(unit_of)))
        for start in range(0, REPLICATES, size):
            weights = _weights(strata, min(size, REPLICATES - start), random)
            yield weights[:, unit_of].astype(np.float64)

    def jackknife(self, statistic: Statistic) -> Floats:
        """Values with one unit, or one of 200 sets of units, left out."""
        unit_of, strata = self._units
        parts = (np.arange(len(strata)) % _JACKKNIFE)[unit_of]
        return statistic((np.unique(parts)[:, None] != parts).astype(np.float64))


def _weights(strata: Indices, B: int, random: np.random.Generator) -> Indices:
    """(B, units) how often each unit is drawn, with replacement within its stratum."""
    weights = np.zeros((B, len(strata)), np.int64)
    for stratum in np.unique(strata):
        units = np.flatnonzero(strata == stratum)
        drawn = random.integers(0, len(units), (B, len(units))) + len(units) * np.arange(B)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=B * len(units))
        weights[:, units] = counts.reshape(B, len(units))
    return weights


def bca(statistic: Statistic, resamples: Resamples) -> Interval | None:
    """Bias-corrected and accelerated bootstrap interval at `CONFIDENCE`.

    B. Efron, "Better bootstrap confidence intervals", J. Am. Stat. Assoc. 82 (1987) 171-185.

    Returns:
        None where resampling cannot tell: no resample differs, or too many leave the statistic undefined.
    """
    value = float(statistic(np.ones((1, len(resamples.labels))))[0])
    found = resamples.values(statistic)
    kept = found[~np.isnan(found)]
    if len(kept) < (1 - _LOST) * len(found) or np.ptp(kept) < 1e-12:
        return None
    below = float(np.mean(kept < value) + np.mean(kept == value) / 2)
    bias = stats.norm.ppf(np.clip(below, 1 / len(kept), 1 - 1 / len(kept)))
    acceleration = _acceleration(resamples.jackknife(statistic))
    tails = stats.norm.ppf([0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2]) + bias
    shares = stats.norm.cdf(bias + tails / (1 - acceleration * tails))
    return Interval(*np.quantile(kept, shares).tolist())


def _acceleration(left_out: Floats) -> float:
    """A sixth of the skewness of what the units contribute."""
    away = np.nanmean(left_out) - left_out[~np.isnan(left_out)]
    spread = float((away**2).sum())
    return float((away**3).sum() / (6 * spread**1.5)) if spread > 1e-24 else 0.0


def of(one: Predictions) -> Mapping[str, Statistic]:
    """By name: loss, brier, balanced_accuracy, macro_f1, mcc, auprc (macro)."""
    losses = metrics.losses(one.labels, one.probabilities)
    squares = metrics.squared_errors(one.labels, one.probabilities)
    matrices = functools.partial(_matrices, one)
    return {
        "loss": functools.partial(_mean, losses),
        "brier": functools.partial(_mean, squares),
        "balanced_accuracy": lambda weights: metrics.weighted_balanced_accuracy(matrices(weights)),
        "macro_f1": lambda weights: metrics.macro_f1(matrices(weights)),
        "mcc": lambda weights: metrics.mcc(matrices(weights)),
        "auprc": functools.partial(_macro_auprc, one),
    }


def auprc_of(one: Predictions, c: int) -> Statistic:
    """Average precision of one class against the others."""
    return functools.partial(metrics.auprc_weighted, one.labels == c, one.probabilities[:, c])


def _mean(values: Floats, weights: Floats) -> Floats:
    return np.asarray((weights @ values) / weights.sum(axis=1))


def _matrices(one: Predictions, weights: Floats) -> Floats:
    C = len(one.class_names)
    cells = np.eye(C * C)[one.labels * C + one.predicted]
    return np.asarray((weights @ cells).reshape(-1, C, C))


def _macro_auprc(one: Predictions, weights: Floats) -> Floats:
    present = np.unique(one.labels)
    return np.asarray(np.mean([auprc_of(one, int(c))(weights) for c in present], axis=0))
