import numpy as np
import pytest

from tumorboard.evaluation.subgroups import subgroups, subset
from tumorboard.predictions import Predictions

from ..predictions_strategies import made

N = 600
SITES = {f"s{i}": "north" if i < 300 else "south" for i in range(N)}


def with_accuracies(north, south):
    right = np.concatenate([np.arange(300) < 300 * share for share in (north, south)])
    return made(right, np.tile([0, 1, 2], 200))


def test_a_gap_of_fifteen_points_is_found_and_none_is_none():
    found, hidden = subgroups(with_accuracies(0.85, 0.70), {"site": SITES})
    assert [(one.value, one.scores.n, one.scores.accuracy.value) for one in found] == [
        ("north", 300, 0.85),
        ("south", 300, 0.7),
    ]
    assert all(one.p_holm < 0.05 for one in found)
    assert hidden == ()
    same, _ = subgroups(with_accuracies(0.8, 0.8), {"site": SITES})
    assert all(one.p_holm == 1 for one in same)


def test_small_subgroups_are_hidden_and_named_and_missing_values_are_a_subgroup():
    sites = {f"s{i}": "rare" for i in range(19)} | {f"s{i}": "often" for i in range(19, 500)}
    found, hidden = subgroups(with_accuracies(0.8, 0.8), {"site": sites})
    assert [(one.value, one.scores.n) for one in found] == [("", 100), ("often", 481)]
    assert hidden == ("site = rare (n = 19)",)


def test_every_column_that_is_looked_at_counts_in_the_correction():
    one = with_accuracies(0.85, 0.78)
    (alone, _), _ = subgroups(one, {"site": SITES})
    more, _ = subgroups(one, {"site": SITES, "site again": SITES, "all": dict.fromkeys(one.ids, "x")})
    assert alone.p_holm == pytest.approx(2 * alone.p)
    assert more[0].p_holm > alone.p_holm
    assert more[-1].p is None


def test_what_is_kept_keeps_its_order_its_labels_and_its_bits():
    ids = ("c", "a", "d", "b")
    probabilities = np.array([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3], [1 / 3, 2 / 3]])
    whole = Predictions(ids, np.array([0, 1, 1, 0]), ("x", "y"), probabilities)
    part = subset(whole, {"b", "c", "unknown"})
    assert part.ids == ("c", "b")
    assert part.labels.tolist() == [0, 0]
    assert np.array_equal(part.probabilities, probabilities[[0, 3]])
