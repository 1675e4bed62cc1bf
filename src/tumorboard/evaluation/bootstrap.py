"""Bootstrap intervals for metrics that have no closed form; many resamples are computed at once as weights.

A statistic is a function from weights (B, N), how often each sample counts in each of B resamples, to (B,)
values. Samples are drawn within classes, so that no class is lost, or in whole groups, always from the same
seed: the same samples in the same order give the same interval.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from tumorboard.evaluation import metrics
from tumorboard.evaluation.intervals import CONFIDENCE, Interval
from tumorboard.predictions import Predictions

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], Floats]

REPLICATES = 1000
_BLOCK = 4_000_000
"""Weights held at a time, to bound memory."""
_JACKKNIFE_PARTS = 200
"""With more units than that, the jackknife leaves several out together."""
_MAX_UNDEFINED = 0.05
"""Share of resamples that may leave a statistic undefined."""


@dataclass(frozen=True, eq=False)
class Resamples:
    """Resamples of N samples.

    Attributes:
        labels: (N,) classes, which are the strata.
        groups: (N,) group of each sample, 0 to G-1 all occurring, or None; groups are drawn whole.
    """

    labels: Indices
    groups: Indices | None = None

    @functools.cached_property
    def _units(self) -> tuple[Indices, Indices]:
        """The unit that each sample belongs to, and the stratum of each unit.

        The stratum of a group is its class if every group has but one class; otherwise there is one stratum.
        """
        if self.groups is None:
            return np.arange(len(self.labels)), self.labels
        G = int(self.groups.max()) + 1
        lowest, highest = np.full(G, np.iinfo(np.int64).max), np.full(G, -1)
        np.minimum.at(lowest, self.groups, self.labels)
        np.maximum.at(highest, self.groups, self.labels)
        return self.groups, lowest if (lowest == highest).all() else np.zeros(G, np.int64)

    def values(self, statistic: Statistic) -> Floats:
        """Return (REPLICATES,) values of the statistic; the resamples are the same for every statistic."""
        blocks = [self._all_weights] if len(self.labels) * REPLICATES <= _BLOCK else self._weights()
        return np.concatenate([statistic(weights) for weights in blocks])

    @functools.cached_property
    def _all_weights(self) -> Floats:
        """The only block of weights, kept for the next statistic."""
        return next(self._weights())

    def _weights(self) -> Iterator[Floats]:
        """Yield weights in blocks; units are drawn with replacement within their stratum."""
        unit_of, strata = self._units
        units_by_stratum = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
        random, size = np.random.default_rng(0), max(1, _BLOCK // max(1, len(unit_of)))
        for start in range(0, REPLICATES, size):
            B = min(size, REPLICATES - start)
            counts = np.zeros((B, len(strata)), np.int64)
            for units in units_by_stratum:
                n = len(units)
                drawn = random.integers(0, n, (B, n)) + n * np.arange(B)[:, None]
                counts[:, units] = np.bincount(drawn.ravel(), minlength=B * n).reshape(B, n)
            yield counts[:, unit_of].astype(np.float64)

    def jackknife(self, statistic: Statistic) -> Floats:
        """Return the values of the statistic with one unit, or one of 200 sets of units, left out."""
        unit_of, strata = self._units
        parts = (np.arange(len(strata)) % _JACKKNIFE_PARTS)[unit_of]
        return statistic((np.unique(parts)[:, None] != parts).astype(np.float64))


def bca(statistic: Statistic, resamples: Resamples) -> Interval | None:
    """Return the bias-corrected and accelerated bootstrap interval at `CONFIDENCE`.

    B. Efron, "Better bootstrap confidence intervals", J. Am. Stat. Assoc. 82 (1987) 171-185.

    Returns:
        None where the bootstrap gives no interval: all resamples have the same value, or too many have none.
    """
    value = float(statistic(np.ones((1, len(resamples.labels))))[0])
    values = resamples.values(statistic)
    defined = values[~np.isnan(values)]
    if len(defined) < (1 - _MAX_UNDEFINED) * len(values) or np.ptp(defined) < 1e-12:
        return None
    below = float(np.mean(defined < value) + np.mean(defined == value) / 2)
    bias = scipy.stats.norm.ppf(np.clip(below, 1 / len(defined), 1 - 1 / len(defined)))
    left_out = resamples.jackknife(statistic)
    away = np.nanmean(left_out) - left_out[~np.isnan(left_out)]
    spread = float((away**2).sum())
    acceleration = float((away**3).sum() / (6 * spread**1.5)) if spread > 1e-24 else 0.0
    tails = scipy.stats.norm.ppf([0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2]) + bias
    levels = scipy.stats.norm.cdf(bias + tails / (1 - acceleration * tails))
    return Interval(*np.quantile(defined, levels).tolist())


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """Return the (B,) means of (N,) values with weights (B, N)."""
    return np.asarray((weights @ values) / weights.sum(axis=1))


def weighted_metrics(predictions: Predictions) -> Mapping[str, Statistic]:
    """Return loss, brier, balanced_accuracy, macro_f1, mcc and (macro) auprc as functions of weights."""
    labels, probabilities, C = predictions.labels, predictions.probabilities, len(predictions.class_names)

    def confusion_matrices(weights: Floats) -> Floats:
        cells = np.eye(C * C)[labels * C + predictions.predicted]
        return np.asarray((weights @ cells).reshape(-1, C, C))

    def macro_auprc(weights: Floats) -> Floats:
        by_class = [class_auprc(predictions, int(c))(weights) for c in np.unique(labels)]
        return np.asarray(np.mean(by_class, axis=0))

    return {
        "loss": functools.partial(weighted_mean, metrics.losses(labels, probabilities)),
        "brier": functools.partial(weighted_mean, metrics.squared_errors(labels, probabilities)),
        "balanced_accuracy": lambda weights: metrics.balanced_accuracy(confusion_matrices(weights)),
        "macro_f1": lambda weights: metrics.macro_f1(confusion_matrices(weights)),
        "mcc": lambda weights: metrics.mcc(confusion_matrices(weights)),
        "auprc": macro_auprc,
    }


def class_auprc(predictions: Predictions, c: int) -> Statistic:
    """Return the average precision of class `c` against the rest as a function of weights."""
    return functools.partial(metrics.auprc, predictions.labels == c, predictions.probabilities[:, c])
