import math
import warnings

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import given

from tumorboard.evaluation import metrics

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
        "balanced": metrics.balanced_accuracy(labels, predicted),
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
        metrics.balanced_accuracy(one.labels, one.predicted),
        metrics.confusion_matrix(one.labels, one.predicted, len(one.class_names)).tolist(),
    )


def test_of_no_samples_metrics_are_nan_without_a_warning():
    nothing = np.array([], dtype=np.int64)
    assert math.isnan(metrics.accuracy(nothing, nothing))
    assert math.isnan(metrics.balanced_accuracy(nothing, nothing))
    assert math.isnan(metrics.log_loss(nothing, np.empty((0, 3))))
    assert metrics.confusion_matrix(nothing, nothing, 3).tolist() == [[0] * 3] * 3
