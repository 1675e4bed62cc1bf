import json

import numpy as np
import pytest
from hypothesis import given, settings

from tumorboard.evaluation.intervals import Estimate
from tumorboard.evaluation.scores import score
from tumorboard.predictions import Predictions

from ..predictions_strategies import made, predictions, predictions_and_order, shuffled


def test_every_share_has_its_number_of_samples_and_its_interval():
    scores = score(made([True, True, False, True], [0, 0, 0, 1]))
    assert scores.n == 4
    assert (scores.accuracy.value, scores.accuracy.n) == (0.75, 4)
    assert scores.accuracy.low < 0.75 < scores.accuracy.high
    assert scores.recall["a"].value == pytest.approx(2 / 3)
    assert (scores.recall["a"].n, scores.recall["b"].n) == (3, 1)
    assert scores.balanced_accuracy.value == pytest.approx((2 / 3 + 1) / 2)
    assert scores.loss.value == pytest.approx(-(3 * np.log(0.8) + np.log(0.1)) / 4)


def test_a_class_without_samples_has_no_recall_and_does_not_count():
    scores = score(made([True, False], [0, 1]))
    assert scores.recall["c"] == Estimate(None, 0, 0.0, 1.0)
    assert scores.balanced_accuracy.value == 0.5


@settings(max_examples=30)
@given(predictions())
def test_scores_are_json_without_nan(one):
    text = json.dumps(score(one).to_dict(), allow_nan=False)
    assert json.loads(text)["n"] == len(one)


def test_no_samples_leave_scores_undefined():
    scores = score(Predictions((), np.array([]), ("a", "b"), np.empty((0, 2))))
    found = scores.loss, scores.accuracy, scores.balanced_accuracy, scores.mcc, scores.auroc, scores.auprc
    assert [one.value for one in found] == [None] * 6
    assert scores.n == 0


@settings(max_examples=30)
@given(predictions_and_order())
def test_scores_do_not_depend_on_the_order_of_rows(case):
    one, order = case
    assert score(one) == score(shuffled(one, order))


def test_where_patients_are_known_the_intervals_are_theirs():
    one = made(np.tile([True] * 8 + [False] * 2, 12), np.tile([0, 1, 2], 40))
    patients = {name: str(i // 4) for i, name in enumerate(one.ids)}
    alone, theirs = score(one), score(one, patients)
    assert (alone.groups, theirs.groups) == (None, 30)
    assert theirs.accuracy.value == alone.accuracy.value
    assert theirs.accuracy.high - theirs.accuracy.low > 0.9 * (alone.accuracy.high - alone.accuracy.low)
    few = score(one, {name: str(i // 40) for i, name in enumerate(one.ids)})
    assert "fewer than 50 groups" in few.auroc.note


def test_what_no_interval_can_be_given_for_says_so_and_small_classes_are_told():
    perfect = score(made([True] * 30, np.tile([0, 1, 2], 10)))
    assert perfect.mcc.value == 1
    assert (perfect.mcc.low, perfect.mcc.high) == (None, None)
    assert perfect.mcc.note.startswith("no interval")
    assert perfect.auroc.low < 1 == perfect.auroc.high
    small = score(made([True] * 20 + [False] * 4, [0] * 12 + [1] * 9 + [2] * 3))
    assert "fewer than 10 samples" in small.mcc.note
    assert small.accuracy.note == ""


def test_every_class_has_its_own_figures_beside_its_prevalence():
    scores = score(made([True, True, False, True, True, False], [0, 0, 0, 1, 1, 1]))
    assert scores.prevalence["a"].value == 0.5
    assert (scores.recall["a"].value, scores.recall["a"].n) == (pytest.approx(2 / 3), 3)
    assert (scores.precision["b"].value, scores.precision["b"].n) == (pytest.approx(2 / 3), 3)
    assert (scores.specificity["c"].value, scores.specificity["c"].n) == (pytest.approx(5 / 6), 6)
    assert scores.precision["c"].value == 0
    assert scores.class_auroc["c"].value is None
    assert scores.class_auroc["c"].note
