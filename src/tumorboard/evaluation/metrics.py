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
    if not len(labels):
        return math.nan
    of_true_class = probabilities[np.arange(len(labels)), labels]
    losses = -np.log(np.clip(of_true_class, EPSILON, 1 - EPSILON))
    return math.fsum(losses) / len(labels)  # exact sum: the same for every order of rows


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
