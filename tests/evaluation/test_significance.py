import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tumorboard.errors import DataError
from tumorboard.evaluation.scores import score
from tumorboard.evaluation.significance import compare, delong, grouped_permutation_test, holm, mcnemar

from ..predictions_strategies import made, shuffled

LABELS = np.repeat([0, 1, 2], 20)
RANDOM = np.random.default_rng(0)
GOOD, BAD, OTHER = (made(RANDOM.random(60) < skill, LABELS) for skill in (0.9, 0.5, 0.5))


def by_metric(found):
    return {(one.first, one.second, one.metric): one for one in found}


def test_every_pair_is_compared_in_every_metric_on_the_same_samples():
    found = by_metric(compare({"good": GOOD, "bad": BAD, "other": OTHER}))
    assert len(found) == 3 * 7
    assert {one.n for one in found.values()} == {60}
    one = found["good", "bad", "accuracy"]
    assert one.difference == pytest.approx(score(GOOD).accuracy.value - score(BAD).accuracy.value)
    assert one.p == mcnemar(GOOD, BAD)
    assert one.low <= one.difference <= one.high
    for metric in ("balanced_accuracy", "mcc", "macro_f1", "loss", "brier", "auroc"):
        scores = [getattr(score(m), metric).value for m in (GOOD, BAD)]
        assert found["good", "bad", metric].difference == pytest.approx(scores[0] - scores[1])
        assert found["good", "bad", metric].p < 0.05


def test_areas_are_compared_by_delong_s_test():
    labels = np.tile([0, 1], 30)
    models = [
        made(np.random.default_rng(s).random(60) < 0.7, labels, ("a", "b"), confidence=0.6 + s / 10)
        for s in (1, 2)
    ]
    found = by_metric(compare(dict(zip("xy", models, strict=True))))["x", "y", "auroc"]
    expected = exact_delong(labels == 1, *(m.probabilities[:, 1] for m in models))
    assert (found.difference, found.p) == pytest.approx(expected, abs=1e-9)


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
    alone = by_metric(compare({"a": one, "b": other}))["a", "b", "accuracy"]
    in_groups = by_metric(compare({"a": one, "b": other}, patients))["a", "b", "accuracy"]
    assert alone.p < 0.05 < in_groups.p
    assert "group" in in_groups.test


def test_sign_flips_agree_with_the_exact_count():
    # Five groups that all favour the first model: 2 of 32 sign patterns are as extreme.
    assert grouped_permutation_test(np.ones(5), np.arange(5)) == pytest.approx(2 / 32, abs=0.01)
    assert grouped_permutation_test(np.zeros(5), np.arange(5)) == 1


def test_one_model_has_nobody_to_compare_with_and_other_samples_are_refused():
    assert compare({"a": GOOD}) == ()
    with pytest.raises(DataError, match="same samples"):
        compare({"a": GOOD, "b": made([True], [0])})


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


def of_two_classes(positive, first, second):
    """`delong` of two classes whose scores are those of the second and their negatives."""
    area = delong(positive.astype(int), *(np.stack([-scores, scores], axis=1) for scores in (first, second)))
    return area.difference, area.p


def exact_delong(positive, first, second):
    """DeLong's test from its definition, over all pairs, in fractions up to the square root."""

    def placements(scores):
        wins = {
            (i, j): Fraction(int(scores[i] > scores[j])) + Fraction(int(scores[i] == scores[j]), 2)
            for i in np.flatnonzero(positive)
            for j in np.flatnonzero(~positive)
        }
        ups, downs = np.flatnonzero(positive), np.flatnonzero(~positive)
        v10 = [sum(wins[i, j] for j in downs) / len(downs) for i in ups]
        v01 = [sum(wins[i, j] for i in ups) / len(ups) for j in downs]
        return sum(v10) / len(v10), v10, v01

    (theta, *v), (other, *w) = placements(first), placements(second)
    spread = Fraction(0)
    for a, b in zip(v, w, strict=True):
        d = [x - y - (theta - other) for x, y in zip(a, b, strict=True)]
        spread += sum(x * x for x in d) / ((len(d) - 1) * len(d))
    z = float(theta - other) / math.sqrt(spread)
    return float(theta - other), 2 * stats.norm.sf(abs(z))


# What exact_delong gives for case(seed, 40, grid), stored so that a change of both would show.
STORED = {
    (0, 0): (0.0686813187, 0.5207582485),
    (1, 0): (0.4533333333, 0.0000001075),
    (2, 0): (0.1709401709, 0.1006292653),
    (3, 2): (0.0299479167, 0.7293781055),
    (4, 2): (0.1191222571, 0.2677208960),
    (5, 1): (0.0643939394, 0.4073092523),
}


@pytest.mark.parametrize(("seed", "grid"), STORED)
def test_delong_is_the_one_of_its_definition_and_of_stored_values(seed, grid):
    found = of_two_classes(*case(seed, grid=grid))
    assert found == pytest.approx(exact_delong(*case(seed, grid=grid)), abs=1e-12)
    assert found == pytest.approx(STORED[seed, grid], abs=1e-6)


def test_scores_that_rank_alike_are_not_told_apart():
    positive, scores, _ = case(1)
    assert of_two_classes(positive, scores, np.exp(3 * scores)) == (0.0, 1.0)
    assert of_two_classes(positive, scores, scores) == (0.0, 1.0)


def right(count, n=20, **more):
    return made([i < count for i in range(n)], [i % 3 for i in range(n)], **more)


@pytest.mark.parametrize(
    ("first", "second", "p"), [(10, 10, 1.0), (15, 10, 2 * 0.5**5), (20, 10, 2 * 0.5**10)]
)
def test_mcnemar_is_the_binomial_test_of_the_images_that_one_model_alone_has_right(first, second, p):
    assert mcnemar(right(first), right(second)) == pytest.approx(p)
    assert mcnemar(right(second), right(first)) == pytest.approx(p)


@given(st.permutations(range(20)))
def test_mcnemar_pairs_images_by_id(order):
    assert mcnemar(right(12), shuffled(right(17), order)) == mcnemar(right(12), right(17))


def test_mcnemar_nears_its_large_sample_form():
    n, random = 4000, np.random.default_rng(1)
    first, second = random.random(n) < 0.80, random.random(n) < 0.78
    b, c = np.sum(first & ~second), np.sum(second & ~first)
    labels = random.integers(0, 3, n)
    expected = stats.chi2.sf((abs(b - c) - 1) ** 2 / (b + c), 1)  # with continuity correction
    assert mcnemar(made(first, labels), made(second, labels)) == pytest.approx(expected, rel=0.02)
