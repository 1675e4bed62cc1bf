"""Metrics as pure functions of arrays: labels (N,), predicted (N,), probabilities (N, C), all checked before.

They agree with scikit-learn, which the tests compare them with; they are written out because its own warn
on float32 softmax rows and on classes without samples, both everyday here. No metric depends on the order
of the rows, not even in its last bit. Of no samples every metric is NaN.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy import stats

from tumorboard.predictions import ClassIndices, Predictions, Probabilities

# A probability of 0 for the true class would cost an infinite loss; scikit-learn clips at the same value.
EPSILON = float(np.finfo(np.float64).eps)


def accuracy(labels: ClassIndices, predicted: ClassIndices) -> float:
    """Share of samples whose predicted class is the true one, 0 to 1."""
    return float((labels == predicted).mean()) if len(labels) else math.nan


def log_loss(labels: ClassIndices, probabilities: Probabilities) -> float:
    """Mean of -ln p(true class), in nats, 0 to 36.04; p is clipped to [EPSILON, 1 - EPSILON] first.

    Equals `sklearn.metrics.log_loss` on float64 arrays.
    """
    return _mean(losses(labels, probabilities))


def losses(labels: ClassIndices, probabilities: Probabilities) -> npt.NDArray[np.float64]:
    """(N,) what each sample adds to `log_loss`."""
    of_true_class = probabilities[np.arange(len(labels)), labels]
    return np.asarray(-np.log(np.clip(of_true_class, EPSILON, 1 - EPSILON)))


def brier(labels: ClassIndices, probabilities: Probabilities) -> float:
    """Mean squared distance of the probabilities from the truth, 0 to 2, summed over all classes.

    G. W. Brier's own score, Mon. Weather Rev. 78 (1950) 1-3; of two classes it is twice the one that is
    often given. Equals `sklearn.metrics.brier_score_loss(..., scale_by_half=False)`.
    """
    return _mean(squared_errors(labels, probabilities))


def squared_errors(labels: ClassIndices, probabilities: Probabilities) -> npt.NDArray[np.float64]:
    """(N,) what each sample adds to `brier`."""
    truth = np.eye(probabilities.shape[1])[labels]
    return np.asarray(((probabilities - truth) ** 2).sum(axis=1))


def _mean(values: npt.NDArray[np.float64]) -> float:
    """An exact sum is the same for every order of rows."""
    return math.fsum(values) / len(values) if len(values) else math.nan


def confusion_matrix(labels: ClassIndices, predicted: ClassIndices, C: int) -> npt.NDArray[np.int64]:
    """(C, C) counts: rows are true classes, columns predicted ones; a missing class is a row of zeros."""
    counts = np.bincount(labels * C + predicted, minlength=C * C)
    return counts.reshape(C, C).astype(np.int64)


def balanced_accuracy(labels: ClassIndices, predicted: ClassIndices) -> float:
    """Mean recall, 0 to 1, of the classes that occur in `labels`; the others have no recall."""
    present = np.unique(labels)
    if not len(present):
        return math.nan
    return math.fsum(accuracy(labels[labels == c], predicted[labels == c]) for c in present) / len(present)


Floats = npt.NDArray[np.float64]


def weighted_balanced_accuracy(matrices: npt.ArrayLike) -> Floats:
    """Mean recall, 0 to 1, of the classes that have samples."""
    counts = np.asarray(matrices, dtype=np.float64)
    hits, actual = _diagonal(counts), counts.sum(-1)
    return _weighted_mean(_ratio(hits, actual), actual > 0)


def macro_f1(matrices: npt.ArrayLike) -> Floats:
    """Mean F1, 0 to 1, of the classes that have samples or are predicted.

    F1 is the harmonic mean of precision and recall, 2 hits / (actual + predicted).
    """
    counts = np.asarray(matrices, dtype=np.float64)
    either = counts.sum(-1) + counts.sum(-2)
    return _weighted_mean(_ratio(2 * _diagonal(counts), either), either > 0)


def mcc(matrices: npt.ArrayLike) -> Floats:
    """Matthews' correlation coefficient, -1 to 1, in J. Gorodkin's form for several classes.

    Comput. Biol. Chem. 28 (2004) 367-374. 0 where all samples, or all predictions, are of one class.
    """
    counts = np.asarray(matrices, dtype=np.float64)
    actual, said, n = counts.sum(-1), counts.sum(-2), counts.sum((-1, -2))
    covariance = _diagonal(counts).sum(-1) * n - (actual * said).sum(-1)
    spreads = (n**2 - (actual**2).sum(-1)) * (n**2 - (said**2).sum(-1))
    value = np.where(spreads > 0, covariance / np.sqrt(np.where(spreads > 0, spreads, 1)), 0.0)
    return np.where(n > 0, value, np.nan)


def _diagonal(counts: Floats) -> Floats:
    return np.asarray(np.diagonal(counts, axis1=-2, axis2=-1), dtype=np.float64)


def _ratio(over: Floats, under: Floats) -> Floats:
    return np.asarray(over / np.where(under > 0, under, 1))


def _weighted_mean(values: Floats, counted: npt.NDArray[np.bool_]) -> Floats:
    n = counted.sum(-1)
    return np.where(n > 0, (values * counted).sum(-1) / np.where(n > 0, n, 1), np.nan)


Flags = npt.NDArray[np.bool_]


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


def auroc_influence(positive: Flags, scores: Floats) -> Floats:
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


def auroc_variance(influences: Floats, groups: npt.NDArray[np.int64] | None = None) -> float:
    """Variance of an area, or of a difference or mean of areas, from their influences.

    With groups the influences of a group are summed first (N. A. Obuchowski, Biometrics 53 (1997) 567-578).
    """
    if groups is None:
        return float(influences @ influences)
    sums = np.bincount(groups, influences)
    G = len(np.unique(groups))
    return float(sums @ sums) * G / (G - 1) if G > 1 else math.nan


def macro_auroc(labels: npt.NDArray[np.int64], probabilities: Floats) -> tuple[list[float], Floats]:
    """The area of each class that can have one, and the (N,) influences of the samples on their mean."""
    sides = [(labels == c, probabilities[:, c]) for c in range(probabilities.shape[1])]
    sides = [(positive, scores) for positive, scores in sides if 0 < positive.sum() < len(labels)]
    if not sides:
        return [], np.zeros(len(labels))
    influences = [auroc_influence(positive, scores) for positive, scores in sides]
    return [auroc(positive, scores) for positive, scores in sides], np.mean(influences, axis=0)


def delong(positive: Flags, first: Floats, second: Floats) -> tuple[float, float]:
    """Difference of two scores' areas on the same samples, and DeLong's two-sided p that it is none.

    Scores that rank all samples alike give p = 1.

    Raises:
        ZeroDivisionError: No positive or no negative sample.
    """
    difference = auroc(positive, first) - auroc(positive, second)
    spread = auroc_variance(auroc_influence(positive, first) - auroc_influence(positive, second))
    return difference, p_of(difference, spread)


def p_of(difference: float, spread: float) -> float:
    """Two-sided p of a normal difference; 1 where it is 0, also without spread."""
    if abs(difference) < 1e-12:  # ranks are halves: what is less is rounding
        return 1.0
    return float(2 * stats.norm.sf(abs(difference) / math.sqrt(spread))) if spread > 0 else 0.0


Points = npt.NDArray[np.float64]


def roc_curve(predictions: Predictions, c: int) -> tuple[Points, Points] | None:
    """False and true positive rate of class index c against the rest, both 0 to 1 from (0, 0) to (1, 1).

    Equal probabilities make one step. None if all samples, or no sample, are of the class.
    """
    positives, negatives = _cumulated(predictions, c)
    if not positives[-1] or not negatives[-1]:
        return None
    return negatives / negatives[-1], positives / positives[-1]


def precision_recall_curve(predictions: Predictions, c: int) -> tuple[Points, Points] | None:
    """Recall and precision of class index c, from the most confident samples on; None without the class."""
    positives, negatives = _cumulated(predictions, c)
    if not positives[-1]:
        return None
    found = positives[1:]
    return found / positives[-1], found / (found + negatives[1:])


def _cumulated(predictions: Predictions, c: int) -> tuple[Points, Points]:
    """Positives and negatives at or above each distinct probability, the highest first; both begin at 0."""
    scores, inverse = np.unique(-predictions.probabilities[:, c], return_inverse=True)
    positive = predictions.labels == c
    both = (np.bincount(inverse[mask], minlength=len(scores)) for mask in (positive, ~positive))
    first, second = (np.concatenate([[0.0], np.cumsum(counts)]) for counts in both)
    return first, second
