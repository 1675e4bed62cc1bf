import numpy as np
import pytest
from sklearn.metrics import auc, average_precision_score, roc_auc_score

from tumorboard.evaluation.metrics import precision_recall_curve, roc_curve
from tumorboard.predictions import Predictions


def predictions(seed: int, digits: int = 2) -> Predictions:
    random = np.random.default_rng(seed)
    rows = random.dirichlet([1, 1, 1], 60).round(digits)  # rounded: equal probabilities occur
    rows[:, 2] = 1 - rows[:, 0] - rows[:, 1]
    rows = np.clip(rows, 0, 1)
    return Predictions(tuple(map(str, range(60))), random.integers(0, 3, 60), ("a", "b", "c"), rows)


@pytest.mark.parametrize("seed", range(20))
def test_areas_under_the_curves_are_scikit_learns(seed: int) -> None:
    one = predictions(seed, 1)
    for c in range(3):
        truth, scores = one.labels == c, one.probabilities[:, c]
        assert auc(*roc_curve(one, c)) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
        recall, precision = precision_recall_curve(one, c)
        steps = np.diff(np.concatenate([[0.0], recall]))
        assert float(steps @ precision) == pytest.approx(average_precision_score(truth, scores), abs=1e-12)


def test_a_class_without_samples_has_no_curve() -> None:
    one = predictions(0)
    lone = Predictions(one.ids, np.zeros(60, int), one.class_names, one.probabilities)
    assert roc_curve(lone, 0) is None  # no negatives
    assert roc_curve(lone, 1) is None
    assert precision_recall_curve(lone, 1) is None
