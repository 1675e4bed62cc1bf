import numpy as np
import pytest

from tumorboard.errors import DataError
from tumorboard.evaluation.metrics import delong
from tumorboard.evaluation.scores import evaluate
from tumorboard.evaluation.significance import compare, holm, mcnemar, sign_flips

from ..predictions_strategies import made, shuffled

LABELS = np.repeat([0, 1, 2], 20)
RANDOM = np.random.default_rng(0)
GOOD, BAD, OTHER = (made(RANDOM.random(60) < skill, LABELS) for skill in (0.9, 0.5, 0.5))


def by_figure(found):
    return {(one.first, one.second, one.metric): one for one in found}


def test_every_pair_is_compared_in_every_figure_on_the_same_samples():
    found = by_figure(compare({"good": GOOD, "bad": BAD, "other": OTHER}))
    assert len(found) == 3 * 7
    assert {one.n for one in found.values()} == {60}
    one = found["good", "bad", "accuracy"]
    assert one.difference == pytest.approx(evaluate(GOOD).accuracy.value - evaluate(BAD).accuracy.value)
    assert one.p == mcnemar(GOOD, BAD)
    assert one.low <= one.difference <= one.high
    for figure in ("balanced_accuracy", "mcc", "macro_f1", "loss", "brier", "auroc"):
        scores = [getattr(evaluate(m), figure).value for m in (GOOD, BAD)]
        assert found["good", "bad", figure].difference == pytest.approx(scores[0] - scores[1])
        assert found["good", "bad", figure].p < 0.05


def test_two_classes_are_compared_by_delong_s_own_test():
    labels = np.tile([0, 1], 30)
    models = [
        made(np.random.default_rng(s).random(60) < 0.7, labels, ("a", "b"), confidence=0.6 + s / 10)
        for s in (1, 2)
    ]
    one = by_figure(compare(dict(zip("xy", models, strict=True))))["x", "y", "auroc"]
    expected = delong(labels == 1, *(m.probabilities[:, 1] for m in models))
    assert (one.difference, one.p) == pytest.approx(expected, abs=1e-9)


def test_a_model_does_not_differ_from_itself_nor_from_its_rows_in_another_order():
    other = shuffled(GOOD, np.random.default_rng(3).permutation(60))
    for one in compare({"a": GOOD, "b": other}):
        assert (one.difference, one.p, one.p_holm) == (0, 1, 1)


def test_holm_multiplies_the_smallest_most_and_keeps_the_order():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_slices_of_few_patients_show_less_than_as_many_patients():
    one = made(np.repeat([True, False, True], 20), LABELS)
    other = made(np.repeat([False, True, False], 20), LABELS)
    patients = {name: str(i // 20) for i, name in enumerate(one.ids)}
    alone = by_figure(compare({"a": one, "b": other}))["a", "b", "accuracy"]
    in_groups = by_figure(compare({"a": one, "b": other}, patients))["a", "b", "accuracy"]
    assert alone.p < 0.05 < in_groups.p
    assert "group" in in_groups.test


def test_sign_flips_agree_with_the_exact_count():
    # Five groups that all favour the first model: 2 of 32 sign patterns are as extreme.
    assert sign_flips(np.ones(5), np.arange(5)) == pytest.approx(2 / 32, abs=0.01)
    assert sign_flips(np.zeros(5), np.arange(5)) == 1


def test_one_model_has_nobody_to_compare_with_and_other_samples_are_refused():
    assert compare({"a": GOOD}) == ()
    with pytest.raises(DataError, match="same samples"):
        compare({"a": GOOD, "b": made([True], [0])})
