"""Metrics as pure functions of arrays: labels (N,), predicted (N,), probabilities (N, C), all checked before.

They agree with scikit-learn, which the tests compare them with; they are written out because its own warn
on float32 softmax rows and on classes without samples, both everyday here. No metric depends on the order
of the rows, not even in its last bit. Of no samples every metric is NaN.
"""

import math

import numpy as np
import numpy.typing as npt

from tumorboard.predictions import ClassIndices, Probabilities

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
