import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorboard.errors import DataError
from tumorboard.evaluation.model_selection import description_scores, most_accurate, recommend
from tumorboard.predictions import Predictions

from ..predictions_strategies import made, shuffled

SHARE = st.floats(0, 1)


@given(SHARE, SHARE, SHARE)
def test_study_scores_follow_their_formulas_and_stay_within_0_and_1(train, valid, test):
    scores = description_scores(train, valid, test)
    gaps = abs(train - valid), abs(train - test), abs(valid - test)
    assert scores.balance == pytest.approx(1 - max(gaps))
    assert scores.average == pytest.approx((train + valid + test) / 3)
    assert scores.composite == pytest.approx((scores.balance + scores.average) / 2)
    assert all(0 <= one <= 1 for one in (scores.balance, scores.average, scores.composite))


def test_study_scores_of_the_study_s_first_model():
    scores = description_scores(0.822, 0.653, 0.514)
    assert (scores.balance, scores.average, scores.composite) == pytest.approx((0.692, 0.663, 0.6775))


def right(count, n=20, **more):
    return made([i < count for i in range(n)], [i % 3 for i in range(n)], **more)


@pytest.mark.parametrize(
    ("valid", "model", "runner_up"),
    [
        ({"low": right(10), "high": right(15)}, "high", "low"),
        # Three images apart, which may be noise (p = 0.25): told apart by loss only.
        ({"more": right(15, confidence=0.4), "surer": right(12, confidence=0.6)}, "surer", "more"),
        # Six apart, which is more than noise (p = 0.03): the loss does not count.
        ({"more": right(20, confidence=0.4), "surer": right(14, confidence=0.8)}, "more", "surer"),
        # Equal in both: the first.
        ({"b": right(12), "a": right(12)}, "b", "a"),
        # Three: one cannot be told from the best, one can.
        ({"x": right(20, confidence=0.4), "y": right(16, confidence=0.8), "z": right(13)}, "y", "x"),
        # A single validation image.
        ({"wrong": right(0, n=1), "right": right(1, n=1)}, "right", "wrong"),
    ],
)
def test_recommended_is_the_lowest_loss_of_those_that_are_not_clearly_less_accurate(valid, model, runner_up):
    found = recommend(valid)
    assert (found.model, found.runner_up) == (model, runner_up)
    assert model in found.reason
    assert runner_up in found.reason


def test_the_reason_says_whether_the_difference_is_significant():
    close, far = recommend({"a": right(15), "b": right(12)}), recommend({"a": right(19), "b": right(5)})
    assert close.within_noise
    assert "is not statistically significant" in close.reason
    assert not far.within_noise
    assert "is statistically significant" in far.reason


def test_a_class_that_validation_lacks_changes_nothing():
    labels = [0, 1] * 10
    found = recommend({"a": made([True] * 12 + [False] * 8, labels), "b": made([True] * 20, labels)})
    assert (found.model, found.within_noise) == ("b", False)


def test_a_single_model_is_recommended_without_a_comparison():
    found = recommend({"only": right(3)})
    assert (found.model, found.runner_up, found.p_value) == ("only", None, None)


def test_recommending_takes_validation_predictions_and_nothing_else():
    assert list(inspect.signature(recommend).parameters) == ["valid", "groups"]


@given(st.permutations(range(20)))
def test_models_are_compared_on_the_same_images_whatever_their_order(order):
    models = {"a": right(14), "b": right(17)}
    assert recommend(models) == recommend(models | {"b": shuffled(models["b"], order)})


@pytest.mark.parametrize(
    "valid",
    [{}, {"none": Predictions((), np.array([]), ("a", "b"), np.empty((0, 2)))}],
)
def test_nothing_to_recommend_from_is_refused(valid):
    with pytest.raises(DataError, match="validation predictions of at least one model"):
        recommend(valid)


def test_models_given_other_images_are_not_compared():
    with pytest.raises(DataError, match=r"same samples in a and b"):
        recommend({"a": right(3), "b": right(3, ids=tuple(f"t{i}" for i in range(20)))})


def test_the_most_accurate_is_it_whatever_its_loss_unless_one_image_decides() -> None:
    more = right(15, confidence=0.4)
    assert most_accurate({"surer": right(13, confidence=0.9), "more": more}) == "more"
    assert most_accurate({"more": more, "surer": right(14, confidence=0.8)}) == "surer"


def test_slices_of_one_patient_are_no_evidence_of_a_better_model():
    """Six images that only one model has right choose it, unless they are of one patient."""
    valid = {"more": right(20, confidence=0.4), "surer": right(14, confidence=0.8)}
    patients = dict.fromkeys(valid["more"].ids[14:], "one")
    assert recommend(valid).model == "more"
    found = recommend(valid, patients)
    assert (found.model, found.within_noise, found.p_value) == ("surer", True, 1)
    assert "(grouped permutation test, p = 1)" in found.reason
    apart = recommend(valid, {name: name for name in valid["more"].ids})
    assert (apart.model, apart.within_noise) == ("more", False)
