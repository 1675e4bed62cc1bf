import numpy as np
import pytest

from tumorboard.evaluation import conformal
from tumorboard.predictions import Predictions

from ..predictions_strategies import calibrated


def test_the_quantile_is_the_score_of_a_rank():
    rows = np.array([[0.9, 0.1]] * 9)
    rows[:, 0] -= np.arange(9) / 20
    rows[:, 1] = 1 - rows[:, 0]
    one = Predictions(tuple("abcdefghi"), np.zeros(9, int), ("x", "y"), rows)
    assert conformal.quantile(one, 0.1) == pytest.approx(1 - rows[8, 0])  # rank 9 of 9
    assert conformal.quantile(one, 0.5) == pytest.approx(1 - rows[4, 0])  # rank 5


def test_too_few_calibration_images_promise_nothing():
    random = np.random.default_rng(0)
    assert conformal.quantile(calibrated(random, 8), 0.1) is None
    assert conformal.quantile(calibrated(random, 9), 0.1) is not None
    assert conformal.quantile(calibrated(random, 18), 0.05) is None
    assert conformal.quantile(calibrated(random, 19), 0.05) is not None


def test_coverage_is_what_is_promised_on_average():
    """The full count is in benchmarks/coverage.py."""
    random, n = np.random.default_rng(3), 39
    covered = []
    for _ in range(200):
        q = conformal.quantile(calibrated(random, n))
        covered.append(conformal.set_coverage(calibrated(random, 200), q)["all"].value)
    assert 0.9 - 0.01 < np.mean(covered) < 0.9 + 1 / (n + 1) + 0.01


def test_sets_hold_what_cannot_be_ruled_out_and_are_counted_by_class():
    rows = np.array([[0.7, 0.3], [0.45, 0.55], [0.02, 0.98]])
    sets = conformal.prediction_set(rows, 0.6)
    assert sets.tolist() == [[True, False], [True, True], [False, True]]
    found = conformal.set_coverage(Predictions(("a", "b", "c"), np.array([1, 0, 1]), ("x", "y"), rows), 0.6)
    assert {name: (one.value, one.n) for name, one in found.items()} == {
        "all": (2 / 3, 3),
        "class x": (1.0, 1),
        "class y": (0.5, 2),
    }


def test_a_calibration_image_s_own_class_is_in_its_set():
    one = calibrated(np.random.default_rng(5), 39)
    q = conformal.quantile(one)
    assert conformal.prediction_set(one.probabilities, q)[np.arange(39), one.labels].sum() == 36
