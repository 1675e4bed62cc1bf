"""How well a score ranks one class above the others: areas under ROC and precision-recall curves.

Functions of `positive` (N,) bool and `scores` (N,). Where one side is empty an area is NaN.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy import stats

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def auroc(positive: Flags, scores: Floats) -> float:
    """Share of pairs of a positive and a negative sample in which the positive scores higher; a tie is half.

    Equals `sklearn.metrics.roc_auc_score`.
    """
    m, n = int(positive.sum()), int((~positive).sum())
    if not m or not n:
        return math.nan
    ranks = stats.rankdata(scores)
    return float((ranks[positive].sum() - m * (m + 1) / 2) / (m * n))


def auprc(positive: Flags, scores: Floats) -> float:
    """Average precision: precision at each distinct score, weighted by the recall gained there.

    Equals `sklearn.metrics.average_precision_score`. A score that says nothing gives the class's prevalence.
    """
    return float(auprc_weighted(positive, scores, np.ones((1, len(scores))))[0])


def auprc_weighted(positive: Flags, scores: Floats, weights: Floats) -> Floats:
    """(B,) average precisions where sample i counts `weights[b, i]` times; NaN without positives."""
    order = np.argsort(-scores, kind="stable")
    ranked, true = -scores[order], np.flatnonzero(positive[order])
    hits = weights[:, order[true]]
    # Samples of one score are taken together: each positive looks at the last one of its score.
    found = np.cumsum(hits, axis=1)[:, _last_of_same(ranked[true], ranked[true])]
    taken = np.cumsum(weights[:, order], axis=1)[:, _last_of_same(ranked, ranked[true])]
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(taken > 0, found / taken, 0.0)
        return np.asarray((hits * precision).sum(axis=1) / hits.sum(axis=1))


def _last_of_same(ranked: Floats, values: Floats) -> npt.NDArray[np.int64]:
    """Where the last of each value is in an ascending row that holds them all."""
    return np.searchsorted(ranked, values, side="right") - 1


def influence(positive: Flags, scores: Floats) -> Floats:
    """(N,) what each sample adds to the estimated area beyond its share; their squares sum to its variance.

    These are the structural components of E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, Biometrics
    44 (1988) 837-845, computed from ranks (X. Sun and W. Xu, IEEE Signal Process. Lett. 21 (2014) 1389-1393).
    Zero for a side with a single sample, whose spread cannot be known.
    """
    theta = auroc(positive, scores)
    result = np.zeros(len(scores))
    ranks = stats.rankdata(scores)
    m, n = int(positive.sum()), int((~positive).sum())
    for side, size, others in ((positive, m, n), (~positive, n, m)):
        placed = (ranks[side] - stats.rankdata(scores[side])) / others
        deviation = placed - theta if side is positive else (1 - placed) - theta
        result[side] = deviation / math.sqrt(size * (size - 1)) if size > 1 else 0.0
    return result


def variance(influences: Floats, groups: npt.NDArray[np.int64] | None = None) -> float:
    """Variance of an area, or of a difference or mean of areas, from their influences.

    With groups the influences of a group are summed first (N. A. Obuchowski, Biometrics 53 (1997) 567-578).
    """
    if groups is None:
        return float(influences @ influences)
    sums = np.bincount(groups, influences)
    G = len(np.unique(groups))
    return float(sums @ sums) * G / (G - 1) if G > 1 else math.nan


def macro(labels: npt.NDArray[np.int64], probabilities: Floats) -> tuple[list[float], Floats]:
    """The area of each class that can have one, and the (N,) influences of the samples on their mean."""
    sides = [(labels == c, probabilities[:, c]) for c in range(probabilities.shape[1])]
    sides = [(positive, scores) for positive, scores in sides if 0 < positive.sum() < len(labels)]
    if not sides:
        return [], np.zeros(len(labels))
    influences = [influence(positive, scores) for positive, scores in sides]
    return [auroc(positive, scores) for positive, scores in sides], np.mean(influences, axis=0)


def delong(positive: Flags, first: Floats, second: Floats) -> tuple[float, float]:
    """Difference of two scores' areas on the same samples, and DeLong's two-sided p that it is none.

    Scores that rank all samples alike give p = 1.

    Raises:
        ZeroDivisionError: No positive or no negative sample.
    """
    difference = auroc(positive, first) - auroc(positive, second)
    spread = variance(influence(positive, first) - influence(positive, second))
    return difference, p_of(difference, spread)


def p_of(difference: float, spread: float) -> float:
    """Two-sided p of a normal difference; 1 where it is 0, also without spread."""
    if abs(difference) < 1e-12:  # ranks are halves: what is less is rounding
        return 1.0
    return float(2 * stats.norm.sf(abs(difference) / math.sqrt(spread))) if spread > 0 else 0.0
