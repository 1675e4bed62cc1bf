"""Metrics of confusion matrices, (..., C, C) counts with true classes as rows; one value a matrix.

They equal scikit-learn's, which the tests compare them with. Of an empty matrix they are NaN.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def balanced_accuracy(matrices: npt.ArrayLike) -> Floats:
    """Mean recall, 0 to 1, of the classes that have samples."""
    counts = np.asarray(matrices, dtype=np.float64)
    hits, actual = _diagonal(counts), counts.sum(-1)
    return _mean(_ratio(hits, actual), actual > 0)


def macro_f1(matrices: npt.ArrayLike) -> Floats:
    """Mean F1, 0 to 1, of the classes that have samples or are predicted.

    F1 is the harmonic mean of precision and recall, 2 hits / (actual + predicted).
    """
    counts = np.asarray(matrices, dtype=np.float64)
    either = counts.sum(-1) + counts.sum(-2)
    return _mean(_ratio(2 * _diagonal(counts), either), either > 0)


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


def _mean(values: Floats, counted: npt.NDArray[np.bool_]) -> Floats:
    n = counted.sum(-1)
    return np.where(n > 0, (values * counted).sum(-1) / np.where(n > 0, n, 1), np.nan)
