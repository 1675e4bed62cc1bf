"""Metrics as pure functions of arrays that the caller has checked.

Labels and predicted classes are (N,) class indices, probabilities are (N, C), and a confusion matrix is
(..., C, C) with true classes in rows. Metrics agree with scikit-learn, which the tests compare them with;
they are written out because scikit-learn warns about float32 softmax rows and about classes without samples,
and because the bootstrap needs them for thousands of weightings at once. No metric depends on the order of
the rows, not even in its last bit. Of no samples every metric is NaN.
"""

import math

import numpy as np
import numpy.typing as npt
import scipy

from tumorboard.predictions import ClassIndices, Predictions, Probabilities

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

EPSILON = float(np.finfo(np.float64).eps)
"""Probabilities are clipped at it, as in scikit-learn: a 0 for the true class would cost an infinite loss."""


def accuracy(labels: ClassIndices, predicted: ClassIndices) -> float:
    """Return the share of samples whose predicted class is the true class, 0 to 1."""
    return float((labels == predicted).mean()) if len(labels) else math.nan


def log_loss(labels: ClassIndices, probabilities: Probabilities) -> float:
    """Return the mean of -ln p(true class) in nats, 0 to 36.04; p is clipped to [EPSILON, 1 - EPSILON].

    Equals `sklearn.metrics.log_loss` on float64 arrays.
    """
    return _exact_mean(losses(labels, probabilities))


def losses(labels: ClassIndices, probabilities: Probabilities) -> Floats:
    """Return the (N,) log loss of each sample."""
    of_true_class = probabilities[np.arange(len(labels)), labels]
    return np.asarray(-np.log(np.clip(of_true_class, EPSILON, 1 - EPSILON)))


def brier(labels: ClassIndices, probabilities: Probabilities) -> float:
    """Return the mean squared distance of the probabilities from the one-hot labels, 0 to 2.

    G. W. Brier, Mon. Weather Rev. 78 (1950) 1-3, summed over all classes; with two classes it is twice the
    score that is often given. Equals `sklearn.metrics.brier_score_loss(..., scale_by_half=False)`.
    """
    return _exact_mean(squared_errors(labels, probabilities))


def squared_errors(labels: ClassIndices, probabilities: Probabilities) -> Floats:
    """Return the (N,) squared distance of each sample from its one-hot label."""
    one_hot = np.eye(probabilities.shape[1])[labels]
    return np.asarray(((probabilities - one_hot) ** 2).sum(axis=1))


def _exact_mean(values: Floats) -> float:
    """Return the mean from an exact sum, which is the same for every order of the values."""
    return math.fsum(values) / len(values) if len(values) else math.nan


def confusion_matrix(labels: ClassIndices, predicted: ClassIndices, C: int) -> npt.NDArray[np.int64]:
    """Count (C, C) samples: true classes in rows, predicted classes in columns."""
    counts = np.bincount(labels * C + predicted, minlength=C * C)
    return counts.reshape(C, C).astype(np.int64)


def balanced_accuracy(matrices: npt.ArrayLike) -> Floats:
    """Return the mean recall, 0 to 1, of the classes that have samples."""
    counts = np.asarray(matrices, dtype=np.float64)
    actual = counts.sum(-1)
    return _mean_where(_ratio(_diagonal(counts), actual), actual > 0)


def macro_f1(matrices: npt.ArrayLike) -> Floats:
    """Return the mean F1, 0 to 1, of the classes that have samples or are predicted.

    F1 is the harmonic mean of precision and recall, 2 hits / (actual + predicted).
    """
    counts = np.asarray(matrices, dtype=np.float64)
    either = counts.sum(-1) + counts.sum(-2)
    return _mean_where(_ratio(2 * _diagonal(counts), either), either > 0)


def mcc(matrices: npt.ArrayLike) -> Floats:
    """Return Matthews' correlation coefficient, -1 to 1, in the form for several classes.

    J. Gorodkin, Comput. Biol. Chem. 28 (2004) 367-374. 0 where all samples, or all predictions, are of a
    single class.
    """
    counts = np.asarray(matrices, dtype=np.float64)
    actual, predicted, n = counts.sum(-1), counts.sum(-2), counts.sum((-1, -2))
    covariance = _diagonal(counts).sum(-1) * n - (actual * predicted).sum(-1)
    spreads = (n**2 - (actual**2).sum(-1)) * (n**2 - (predicted**2).sum(-1))
    value = np.where(spreads > 0, covariance / np.sqrt(np.where(spreads > 0, spreads, 1)), 0.0)
    return np.where(n > 0, value, np.nan)


def _diagonal(counts: Floats) -> Floats:
    return np.asarray(np.diagonal(counts, axis1=-2, axis2=-1), dtype=np.float64)


def _ratio(over: Floats, under: Floats) -> Floats:
    return np.asarray(over / np.where(under > 0, under, 1))


def _mean_where(values: Floats, counted: Flags) -> Floats:
    n = counted.sum(-1)
    return np.where(n > 0, (values * counted).sum(-1) / np.where(n > 0, n, 1), np.nan)


def auroc(positive: Flags, scores: Floats) -> float:
    """Return the area under the ROC curve, 0 to 1; NaN without positive or without negative samples.

    It is the share of pairs of a positive and a negative sample in which the positive has the higher score;
    a tie counts half. Equals `sklearn.metrics.roc_auc_score`.
    """
    m, n = int(positive.sum()), int((~positive).sum())
    if not m or not n:
        return math.nan
    ranks = scipy.stats.rankdata(scores)
    return float((ranks[positive].sum() - m * (m + 1) / 2) / (m * n))


def auprc(positive: Flags, scores: Floats, weights: Floats) -> Floats:
    """Return (B,) average precisions where sample i counts `weights[b, i]` times; NaN without positives.

    Average precision is the precision at each distinct score, weighted by the recall gained there. Equals
    `sklearn.metrics.average_precision_score`. An uninformative score has the prevalence of the class.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, true = -scores[order], np.flatnonzero(positive[order])
    hits = weights[:, order[true]]
    # Samples of equal score count together: for each positive, the place of the last sample of its score.
    last_positive = np.searchsorted(ranked[true], ranked[true], side="right") - 1
    last_sample = np.searchsorted(ranked, ranked[true], side="right") - 1
    true_positives = np.cumsum(hits, axis=1)[:, last_positive]
    selected = np.cumsum(weights[:, order], axis=1)[:, last_sample]
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(selected > 0, true_positives / selected, 0.0)
        return np.asarray((hits * precision).sum(axis=1) / hits.sum(axis=1))


def auroc_influence(positive: Flags, scores: Floats) -> Floats:
    """Return the (N,) influence of each sample on the AUROC; their squares sum to its variance.

    These are the structural components of E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, Biometrics
    44 (1988) 837-845, computed from ranks (X. Sun and W. Xu, IEEE Signal Process. Lett. 21 (2014) 1389-1393).
    Zero for a class with a single sample, whose spread is unknown.
    """
    theta = auroc(positive, scores)
    result = np.zeros(len(scores))
    ranks = scipy.stats.rankdata(scores)
    m, n = int(positive.sum()), int((~positive).sum())
    for side, size, others in ((positive, m, n), (~positive, n, m)):
        placed = (ranks[side] - scipy.stats.rankdata(scores[side])) / others
        deviation = placed - theta if side is positive else (1 - placed) - theta
        result[side] = deviation / math.sqrt(size * (size - 1)) if size > 1 else 0.0
    return result


def auroc_variance(influences: Floats, groups: npt.NDArray[np.int64] | None = None) -> float:
    """Return the variance of an AUROC, or of a difference or mean of several, from the samples' influences.

    With groups, the influences of a group are summed first (N. A. Obuchowski, Biometrics 53 (1997) 567-578).
    """
    if groups is None:
        return float(influences @ influences)
    sums = np.bincount(groups, influences)
    G = len(np.unique(groups))
    return float(sums @ sums) * G / (G - 1) if G > 1 else math.nan


def macro_auroc(labels: ClassIndices, probabilities: Probabilities) -> tuple[list[float], Floats]:
    """Return the AUROC of each class against the rest, and the (N,) influences on their mean.

    Classes that no sample or every sample has are left out.
    """
    classes = [(labels == c, probabilities[:, c]) for c in range(probabilities.shape[1])]
    classes = [(positive, scores) for positive, scores in classes if 0 < positive.sum() < len(labels)]
    if not classes:
        return [], np.zeros(len(labels))
    influences = [auroc_influence(positive, scores) for positive, scores in classes]
    return [auroc(positive, scores) for positive, scores in classes], np.mean(influences, axis=0)


def roc_curve(predictions: Predictions, c: int) -> tuple[Floats, Floats] | None:
    """Return false and true positive rates of class `c` against the rest, from (0, 0) to (1, 1).

    None if no sample or every sample is of the class.
    """
    positive = predictions.labels == c
    if not 0 < positive.sum() < len(positive):
        return None
    from sklearn.metrics import roc_curve

    scores = predictions.probabilities[:, c]
    false_positive_rate, true_positive_rate, _ = roc_curve(positive, scores, drop_intermediate=False)
    return false_positive_rate, true_positive_rate


def precision_recall_curve(predictions: Predictions, c: int) -> tuple[Floats, Floats] | None:
    """Return recall and precision of class `c`, from the highest probability on; None without the class."""
    positive = predictions.labels == c
    if not positive.any():
        return None
    from sklearn import metrics

    precision, recall, _ = metrics.precision_recall_curve(positive, predictions.probabilities[:, c])
    return recall[-2::-1], precision[-2::-1]  # scikit-learn appends a point at recall 0, precision 1
