import json

import numpy as np
import pytest
from hypothesis import given

from tumorboard.evaluation.score import Proportion, evaluate
from tumorboard.predictions import Predictions

from ..predictions_strategies import made, predictions, predictions_and_order, shuffled


def test_every_share_has_its_number_of_samples_and_its_interval():
    scores = evaluate(made([True, True, False, True], [0, 0, 0, 1]))
    assert scores.n == 4
    assert (scores.accuracy.value, scores.accuracy.n) == (0.75, 4)
    assert scores.accuracy.low < 0.75 < scores.accuracy.high
    assert scores.recall["a"].value == pytest.approx(2 / 3)
    assert (scores.recall["a"].n, scores.recall["b"].n) == (3, 1)
    assert scores.balanced_accuracy == pytest.approx((2 / 3 + 1) / 2)
    assert scores.loss == pytest.approx(-(3 * np.log(0.8) + np.log(0.1)) / 4)


def test_a_class_without_samples_has_no_recall_and_does_not_count():
    scores = evaluate(made([True, False], [0, 1]))
    assert scores.recall["c"] == Proportion(None, 0, 0.0, 1.0)
    assert scores.balanced_accuracy == 0.5


@given(predictions())
def test_scores_are_json_without_nan(one):
    text = json.dumps(evaluate(one).to_dict(), allow_nan=False)
    assert json.loads(text)["n"] == len(one)


def test_no_samples_leave_scores_undefined():
    scores = evaluate(Predictions((), np.array([]), ("a", "b"), np.empty((0, 2))))
    assert (scores.n, scores.loss, scores.accuracy.value, scores.balanced_accuracy) == (0, None, None, None)


@given(predictions_and_order())
def test_scores_do_not_depend_on_the_order_of_rows(case):
    one, order = case
    assert evaluate(one) == evaluate(shuffled(one, order))
