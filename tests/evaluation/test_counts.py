import math
import warnings

import numpy as np
import pytest
import sklearn.metrics as oracle

from tumorboard.evaluation import metrics
from tumorboard.evaluation.metrics import confusion_matrix


def random_case(seed):
    """Labels and predictions of up to 5 classes, often with classes that do not occur."""
    random = np.random.default_rng(seed)
    C, n = random.integers(2, 6), random.integers(1, 40)
    return (
        C,
        random.integers(0, random.integers(1, C + 1), n),
        random.integers(0, random.integers(1, C + 1), n),
    )


@pytest.mark.parametrize("seeds", [range(150), pytest.param(range(1000), marks=pytest.mark.slow)])
def test_random_cases_equal_scikit_learn(seeds):
    for seed in seeds:
        C, labels, predicted = random_case(seed)
        matrix = confusion_matrix(labels, predicted, C)
        with warnings.catch_warnings(action="ignore"):  # on missing classes, which scikit-learn warns about
            expected = (
                oracle.balanced_accuracy_score(labels, predicted),
                oracle.f1_score(labels, predicted, average="macro", zero_division=0),
                oracle.matthews_corrcoef(labels, predicted),
            )
        found = metrics.weighted_balanced_accuracy(matrix), metrics.macro_f1(matrix), metrics.mcc(matrix)
        assert found == pytest.approx(expected, abs=1e-9), seed


def test_many_matrices_at_once_are_each_for_itself():
    matrices = np.random.default_rng(0).integers(0, 9, (7, 3, 3))
    for metric in (metrics.weighted_balanced_accuracy, metrics.macro_f1, metrics.mcc):
        assert metric(matrices).tolist() == [float(metric(one)) for one in matrices]


def test_of_nothing_they_are_nan():
    nothing = np.zeros((3, 3))
    assert all(
        math.isnan(m(nothing)) for m in (metrics.weighted_balanced_accuracy, metrics.macro_f1, metrics.mcc)
    )
