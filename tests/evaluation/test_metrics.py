import math
import warnings

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import given

from tumorboard.evaluation import metrics
from tumorboard.predictions import Predictions

from ..predictions_strategies import predictions, predictions_and_order, shuffled


def grid():
    """Named inputs: labels, probabilities."""
    random = np.random.default_rng(7)

    def case(C, labels, concentration=0.5):
        labels = np.asarray(labels)
        return C, labels, random.dirichlet(np.full(C, concentration), len(labels))

    yield "binary", *case(2, random.integers(0, 2, 40))
    yield "four classes", *case(4, random.integers(0, 4, 315))
    yield "a class without samples", *case(4, random.choice([0, 1, 3], 50))
    yield "one class only", *case(3, [1] * 9)
    yield "one sample", *case(3, [2])
    yield "certain and wrong", 3, np.array([0, 1, 2]), np.eye(3)[[1, 1, 0]]
    yield "certain and right", 3, np.array([0, 1, 2]), np.eye(3)


GRID = list(grid())


@pytest.mark.parametrize(("C", "labels", "probabilities"), [g[1:] for g in GRID], ids=[g[0] for g in GRID])
def test_metrics_equal_those_of_scikit_learn(C, labels, probabilities):
    agree(C, labels, probabilities)


@given(predictions(min_size=1))
def test_metrics_equal_those_of_scikit_learn_on_anything(one):
    agree(len(one.class_names), one.labels, one.probabilities)


def agree(C, labels, probabilities):
    predicted = probabilities.argmax(axis=1)
    with warnings.catch_warnings(action="ignore"):  # on missing classes, which scikit-learn warns about
        expected = {
            "accuracy": oracle.accuracy_score(labels, predicted),
            "log_loss": oracle.log_loss(labels, probabilities, labels=range(C)),
            "balanced": oracle.balanced_accuracy_score(labels, predicted),
        }
        matrix = oracle.confusion_matrix(labels, predicted, labels=range(C))
    found = {
        "accuracy": metrics.accuracy(labels, predicted),
        "log_loss": metrics.log_loss(labels, probabilities),
        "balanced": float(metrics.balanced_accuracy(metrics.confusion_matrix(labels, predicted, C))),
    }
    assert found == pytest.approx(expected, abs=1e-12)
    assert np.array_equal(metrics.confusion_matrix(labels, predicted, C), matrix)


@given(predictions_and_order())
def test_the_order_of_rows_changes_no_metric_by_a_bit(case):
    one, order = case
    assert every_metric(one) == every_metric(shuffled(one, order))


def every_metric(one):
    return (
        metrics.accuracy(one.labels, one.predicted),
        metrics.log_loss(one.labels, one.probabilities),
        metrics.confusion_matrix(one.labels, one.predicted, len(one.class_names)).tolist(),
    )


def test_of_no_samples_metrics_are_nan_without_a_warning():
    nothing = np.array([], dtype=np.int64)
    assert math.isnan(metrics.accuracy(nothing, nothing))
    assert math.isnan(metrics.log_loss(nothing, np.empty((0, 3))))
    assert metrics.confusion_matrix(nothing, nothing, 3).tolist() == [[0] * 3] * 3


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
        matrix = metrics.confusion_matrix(labels, predicted, C)
        with warnings.catch_warnings(action="ignore"):  # on missing classes, which scikit-learn warns about
            expected = (
                oracle.balanced_accuracy_score(labels, predicted),
                oracle.f1_score(labels, predicted, average="macro", zero_division=0),
                oracle.matthews_corrcoef(labels, predicted),
            )
        found = metrics.balanced_accuracy(matrix), metrics.macro_f1(matrix), metrics.mcc(matrix)
        assert found == pytest.approx(expected, abs=1e-9), seed


def test_many_matrices_at_once_are_each_for_itself():
    matrices = np.random.default_rng(0).integers(0, 9, (7, 3, 3))
    for metric in (metrics.balanced_accuracy, metrics.macro_f1, metrics.mcc):
        assert metric(matrices).tolist() == [float(metric(one)) for one in matrices]


def test_of_nothing_they_are_nan():
    nothing = np.zeros((3, 3))
    assert all(math.isnan(m(nothing)) for m in (metrics.balanced_accuracy, metrics.macro_f1, metrics.mcc))


def case(seed, n=40, grid=0):
    """Positives and two related scores; with a grid, many ties."""
    random = np.random.default_rng(seed)
    positive = random.random(n) < 0.4
    positive[:2] = True, False
    first = random.normal(size=n) + positive
    second = 0.5 * first + random.normal(size=n)
    if grid:
        first, second = np.round(first * grid) / grid, np.round(second * grid) / grid
    return positive, first, second


@pytest.mark.parametrize("seed", range(300))
def test_areas_equal_those_of_scikit_learn(seed):
    positive, scores, _ = case(seed, n=2 + seed % 50, grid=seed % 3)
    assert metrics.auroc(positive, scores) == pytest.approx(oracle.roc_auc_score(positive, scores), abs=1e-12)
    expected = oracle.average_precision_score(positive, scores)
    assert float(metrics.auprc(positive, scores, np.ones((1, len(scores))))[0]) == pytest.approx(
        expected, abs=1e-12
    )


def test_one_sided_cases_have_no_area():
    assert math.isnan(metrics.auroc(np.ones(3, bool), np.arange(3.0)))
    assert np.isnan(metrics.auprc(np.zeros(3, bool), np.arange(3.0), np.ones((1, 3)))).all()
    assert np.isnan(metrics.auprc(np.zeros(0, bool), np.zeros(0), np.ones((1, 0)))).all()


def test_a_sample_that_weighs_twice_is_as_two_samples():
    positive, scores, _ = case(5, grid=2)
    weights = np.random.default_rng(1).integers(0, 4, (6, len(scores))).astype(float)
    expected = [
        oracle.average_precision_score(np.repeat(positive, row), np.repeat(scores, row))
        for row in weights.astype(int)
    ]
    assert metrics.auprc(positive, scores, weights) == pytest.approx(expected, abs=1e-12)


def test_groups_of_one_leave_the_variance_and_copies_of_a_patient_do_not_shrink_it():
    positive, scores, _ = case(2, n=60)
    alone = metrics.auroc_variance(metrics.auroc_influence(positive, scores))
    n = len(scores)
    groups = np.arange(n)
    single = metrics.auroc_variance(metrics.auroc_influence(positive, scores), groups)
    assert single == pytest.approx(alone * n / (n - 1))
    copied = metrics.auroc_influence(np.repeat(positive, 5), np.repeat(scores, 5))
    assert metrics.auroc_variance(copied) < 0.3 * alone
    assert metrics.auroc_variance(copied, np.repeat(groups, 5)) == pytest.approx(alone, rel=0.05)


def drawn(seed, digits=2):
    random = np.random.default_rng(seed)
    rows = random.dirichlet([1, 1, 1], 60).round(digits)  # rounded: equal probabilities occur
    rows[:, 2] = 1 - rows[:, 0] - rows[:, 1]
    rows = np.clip(rows, 0, 1)
    return Predictions(tuple(map(str, range(60))), random.integers(0, 3, 60), ("a", "b", "c"), rows)


@pytest.mark.parametrize("seed", range(20))
def test_areas_under_the_curves_are_scikit_learns(seed):
    one = drawn(seed, 1)
    for c in range(3):
        truth, scores = one.labels == c, one.probabilities[:, c]
        assert oracle.auc(*metrics.roc_curve(one, c)) == pytest.approx(
            oracle.roc_auc_score(truth, scores), abs=1e-12
        )
        recall, precision = metrics.precision_recall_curve(one, c)
        steps = np.diff(np.concatenate([[0.0], recall]))
        assert float(steps @ precision) == pytest.approx(
            oracle.average_precision_score(truth, scores), abs=1e-12
        )


def test_a_class_without_samples_has_no_curve():
    one = drawn(0)
    lone = Predictions(one.ids, np.zeros(60, int), one.class_names, one.probabilities)
    assert metrics.roc_curve(lone, 0) is None  # no negatives
    assert metrics.roc_curve(lone, 1) is None
    assert metrics.precision_recall_curve(lone, 1) is None
