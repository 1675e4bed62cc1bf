import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from tumorboard.evaluation import metrics


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
    assert metrics.auroc(positive, scores) == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)
    expected = average_precision_score(positive, scores)
    assert metrics.auprc(positive, scores) == pytest.approx(expected, abs=1e-12)


def test_one_sided_cases_have_no_area():
    assert math.isnan(metrics.auroc(np.ones(3, bool), np.arange(3.0)))
    assert math.isnan(metrics.auprc(np.zeros(3, bool), np.arange(3.0)))
    assert math.isnan(metrics.auprc(np.zeros(0, bool), np.zeros(0)))


def test_a_sample_that_weighs_twice_is_as_two_samples():
    positive, scores, _ = case(5, grid=2)
    weights = np.random.default_rng(1).integers(0, 4, (6, len(scores))).astype(float)
    expected = [
        average_precision_score(np.repeat(positive, row), np.repeat(scores, row))
        for row in weights.astype(int)
    ]
    assert metrics.auprc_weighted(positive, scores, weights) == pytest.approx(expected, abs=1e-12)


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
    found = metrics.delong(*case(seed, grid=grid))
    assert found == pytest.approx(exact_delong(*case(seed, grid=grid)), abs=1e-12)
    assert found == pytest.approx(STORED[seed, grid], abs=1e-6)


def test_scores_that_rank_alike_are_not_told_apart():
    positive, scores, _ = case(1)
    assert metrics.delong(positive, scores, np.exp(3 * scores)) == (0.0, 1.0)
    assert metrics.delong(positive, scores, scores) == (0.0, 1.0)


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
