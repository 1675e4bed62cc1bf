"""Do two models err equally often on the same samples? McNemar's test, or one that knows groups."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from tumorboard.evaluation.figures import case_of
from tumorboard.predictions import Predictions, aligned

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_FLIPS = 9999


def accuracy_test(
    first: Predictions, second: Predictions, groups: Mapping[str, str] = {}
) -> tuple[str, float]:
    """The name of the test and its two-sided p.

    Args:
        first: Of a model.
        second: Of another, on the same samples.
        groups: By sample id; slices of one patient are no independent samples, which McNemar's test takes
            them for, so where groups are known models are exchanged in whole ones.

    Raises:
        DataError: Not the same samples or classes.
    """
    one, other = (case_of(each, groups) for each in aligned(first, second))
    return equally_accurate(one.one, other.one, one.groups)


def equally_accurate(one: Predictions, other: Predictions, units: Indices | None) -> tuple[str, float]:
    """The same of rows in the same order; units are (N,) group of each, or None."""
    if units is None:
        return "exact McNemar test", mcnemar(one, other)
    return "exchange of models by group", sign_flips(gains(one, other), units)


def gains(one: Predictions, other: Predictions) -> Floats:
    """(N,) 1 where the first alone is right, -1 where the second alone is, else 0."""
    right, also = one.predicted == one.labels, other.predicted == other.labels
    return np.asarray(right.astype(np.float64) - also)


def mcnemar(first: Predictions, second: Predictions) -> float:
    """Two-sided p of McNemar's exact test that two models err equally often on the same samples.

    Q. McNemar, Psychometrika 12 (1947) 153-157, with the binomial distribution. No sample that only one
    of them has right gives 1.

    Raises:
        DataError: Not the same samples.
    """
    first, second = aligned(first, second)
    right, also = first.predicted == first.labels, second.predicted == second.labels
    lone, differing = int(np.sum(right & ~also)), int(np.sum(right != also))
    return float(binomtest(lone, differing).pvalue) if differing else 1.0


def sign_flips(differences: npt.NDArray[np.float64], groups: Indices) -> float:
    """Two-sided p that a difference per sample is none, by exchanging the models in whole groups.

    9,999 draws of the signs of the groups' sums, or of all groups alike, from a fixed seed.
    """
    sums = np.bincount(groups, differences)
    signs = np.random.default_rng(0).integers(0, 2, (_FLIPS, len(sums))) * 2 - 1
    as_far = np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9
    return float((as_far.sum() + 1) / (_FLIPS + 1))
