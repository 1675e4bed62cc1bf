import json

import pytest

from tests.test_config import MINIMAL
from tumorboard import NOTICE, config
from tumorboard.evaluation.intervals import Estimate
from tumorboard.reporting.trials import Trial
from tumorboard.reporting.tuning import Tuning, recipe_toml, tuning_json, tuning_md

OWN, RATE = config.parse(MINIMAL, "minimal"), "models.custom.training.learning_rate"


def tried(rate, loss, state="complete"):
    measures = Estimate(loss, 20, loss - 0.1, loss + 0.1), Estimate(0.75, 20, 0.5, 0.9)
    return Trial({RATE: rate}, state, (loss, loss), *measures)


def tuning(*trials, study="study"):
    return Tuning(study, OWN, "custom", 2, trials)


BETTER = tuning(
    tried(1e-3, 0.5), tried(2e-3, 0.4), tried(3e-3, 0.3, "pruned"), Trial({RATE: 9.0}, "failed", reason="x")
)


def test_the_recipe_holds_the_winner_and_says_what_its_score_is_worth():
    text = recipe_toml(BETTER)
    tuned = config.parse(text, "tuned")
    assert tuned.models["custom"].training.learning_rate == 2e-3
    assert tuned.name == "mine-tuned"
    head = text.split("name =")[0]
    assert all(line.startswith("# ") for line in head.splitlines())
    for where in (head, tuned.description):
        assert "trial 2 of 4 of the study study" in where
        assert "log loss 0.400 (0.300 to 0.500), n = 20" in where
        assert "best of 4" in where
        assert "optimistic" in where


@pytest.mark.parametrize("name", ['a"b', "a\nseed = 7", "a\\", "=a|b"])
def test_a_strange_name_of_a_study_changes_no_setting(name):
    assert config.parse(recipe_toml(tuning(tried(1e-3, 0.5), study=name)), "tuned").seed == OWN.seed


def test_the_page_sets_the_winner_against_the_recipes_own_settings():
    page = tuning_md(BETTER)
    assert NOTICE in page
    assert (
        "Best: trial 2, log loss 0.400 (0.300 to 0.500), n = 20; the recipe's own settings (trial 1): "
        in page
    )
    assert f"| {RATE} | 0.001 | 0.002 |" in page
    assert "| 3 | pruned | 0.300 (0.200 to 0.400) | 0.750 (0.500 to 0.900) | 20 |" in page
    assert "| 4 | failed |  |  | 0 | x |" in page
    assert "optimistic" in page


def test_a_recipe_that_nothing_beats_is_said_to_be_the_best():
    page = tuning_md(tuning(tried(1e-3, 0.3), tried(2e-3, 0.4)))
    assert "No trial was better than the recipe's own settings (trial 1): log loss 0.300" in page
    assert "nothing was chosen" in tuning_md(tuning(tried(1e-3, 0.3)))


def test_the_figures_for_machines_are_the_trials():
    found = json.loads(tuning_json(BETTER))
    assert (found["best"], found["model"], found["folds"], found["notice"]) == (2, "custom", 2, NOTICE)
    assert [one["trial"] for one in found["trials"]] == [1, 2, 3, 4]
    assert found["trials"][1]["loss"] == {
        "value": 0.4,
        "n": 20,
        "low": 0.30000000000000004,
        "high": 0.5,
        "note": "",
    }
