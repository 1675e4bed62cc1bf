"""What is tried next depends on the seed and on the trials before it, and on nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from tumorboard.reports.tuning import Trial
from tumorboard.search_space import Range
from tumorboard.workflows import tune

pytest.importorskip("optuna", reason="the extra tune is not installed")

SPACE = {
    "rate": Range(low=1e-4, high=1e-1, log=True),
    "epochs": Range(low=2, high=9),
    "flip": ["none", "horizontal"],
}
KINDS = {"rate": float, "epochs": int, "flip": str}
OWN = {"rate": 1e-3, "epochs": 4, "flip": "none"}


def loss(values):
    """Lowest at a rate of 0.01, the other settings hardly matter."""
    return abs(np.log10(values["rate"]) + 2) + 0.01 * values["epochs"]


def complete(values, folds=3):
    return Trial(values, "complete", (loss(values),) * folds)


def study(seed, trials):
    done = [complete(OWN)]
    while len(done) < trials:
        done.append(complete(tune.propose(SPACE, KINDS, done, seed).values))
    return done


def test_what_is_drawn_lies_in_the_space_and_has_its_types():
    for one in study(0, 15):
        assert 1e-4 <= one.values["rate"] <= 1e-1
        assert one.values["epochs"] in range(2, 10)
        assert one.values["flip"] in SPACE["flip"]
        assert [type(value) for value in one.values.values()] == [float, int, str]


def test_the_same_seed_and_trials_draw_the_same_and_others_do_not():
    first = study(0, 15)
    assert study(0, 15) == first
    assert study(1, 15)[1:] != first[1:]
    again = tune.propose(SPACE, KINDS, first, 0).values
    assert tune.propose(SPACE, KINDS, first, 0).values == again
    assert tune.propose(SPACE, KINDS, first[:-1], 0).values == first[-1].values
    better = [replace(one, losses=(9.0 - one.losses[0],)) for one in first]
    assert tune.propose(SPACE, KINDS, better, 0).values != again


def test_later_trials_are_nearer_to_the_best_than_the_first():
    losses = [loss(one.values) for one in study(0, 40)]
    assert np.median(losses[20:]) < np.median(losses[:10])


def test_given_settings_are_tried():
    assert tune.propose(SPACE, KINDS, [], 0, OWN).values == OWN
    assert tune.propose(SPACE, KINDS, study(0, 3), 0, OWN).values == OWN


def test_trials_that_failed_or_were_pruned_are_no_obstacle():
    done = [*study(0, 11), Trial(OWN, "failed"), Trial(OWN, "pruned", (9.0, 9.0))]
    assert tune.propose(SPACE, KINDS, done, 0).values != OWN


@pytest.mark.parametrize(
    ("complete_ones", "found", "folds", "hopeless"),
    [(5, 2.1, 2, True), (5, 1.9, 2, False), (5, 9.0, 1, False), (4, 9.0, 2, False)],
)
def test_what_is_worse_than_the_median_is_hopeless_but_not_too_soon(complete_ones, found, folds, hopeless):
    losses = (1.0, 1.0, 2.0, 3.0, 3.0)
    earlier = [Trial(OWN, "complete", (one,) * 3) for one in losses[:complete_ones]]
    assert tune.propose(SPACE, KINDS, earlier, 0).should_prune(found, folds) is hopeless
