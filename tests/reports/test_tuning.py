import csv
import io
import json

import pytest

from tests.test_config import MINIMAL
from tumorboard import NOTICE, config
from tumorboard.evaluation.intervals import Estimate
from tumorboard.reports import markdown
from tumorboard.reports.tuning import (
    Trial,
    Tuning,
    best_trial,
    recipe_toml,
    settings_text,
    trials_from_json,
    trials_to_csv,
    trials_to_json,
    tuning_json,
    tuning_report,
)

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
        assert "trial 2 of 4 of the search study" in where
        assert "log loss 0.400 (95% CI 0.300-0.500, n = 20)" in where
        assert "best of 4 trials" in where
        assert "optimistic" in where


@pytest.mark.parametrize("name", ['a"b', "a\nseed = 7", "a\\", "=a|b"])
def test_a_strange_name_of_a_study_changes_no_setting(name):
    assert config.parse(recipe_toml(tuning(tried(1e-3, 0.5), study=name)), "tuned").seed == OWN.seed


def page(one):
    return markdown.render(tuning_report(one))


def test_the_page_sets_the_winner_against_the_recipes_own_settings():
    text = page(BETTER)
    assert NOTICE in text
    assert (
        "Best: trial 2, log loss 0.400 (95% CI 0.300-0.500, n = 20); the recipe's own settings (trial 1): "
        in text
    )
    assert f"| {RATE} | 0.001 | 0.002 |" in text
    assert "| 3 | pruned | 0.300 (0.200-0.400) | 0.750 (0.500-0.900) |" in text
    assert "| 4 | failed |  |  | x |" in text
    assert "optimistic" in text


def test_a_recipe_that_nothing_beats_is_said_to_be_the_best():
    text = page(tuning(tried(1e-3, 0.3), tried(2e-3, 0.4)))
    assert "No trial was better than the recipe's own settings (trial 1): log loss 0.300" in text
    assert "nothing was chosen" in page(tuning(tried(1e-3, 0.3)))


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


LOSS, ACCURACY = Estimate(0.5, 20, 0.4, 0.6, "few"), Estimate(0.75, 20, 0.5, 0.9)
ALL = [
    Trial({"rate": 1e-3, "flip": "none"}, "complete", (0.7, 0.5), LOSS, ACCURACY),
    Trial({"rate": 0.1, "flip": "=cmd()"}, "failed", reason="@loss is no number"),
    Trial(
        {"rate": 0.1 + 0.2, "flip": "none"},
        "pruned",
        (0.9,),
        Estimate(0.9, 10, None, None, "refused"),
        ACCURACY,
    ),
    Trial({"rate": 1e-2, "flip": "none"}),
]


def test_a_record_comes_back_bit_for_bit():
    assert trials_from_json(json.loads(json.dumps(trials_to_json(ALL)))) == ALL


@pytest.mark.parametrize("content", [[{"trial": 1}], [3], [{"trial": 1, "values": {}, "more": 1}], 3])
def test_what_is_no_record_is_refused(content):
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        trials_from_json(content)


def test_the_best_is_complete_and_of_equal_ones_the_first():
    better = [
        Trial({}, state, (loss,)) for state, loss in (("complete", 2.0), ("pruned", 0.1), ("complete", 1.0))
    ]
    assert best_trial(better) == 2
    assert best_trial([*better, better[2]]) == 2


def test_the_table_has_every_figure_with_its_n_and_interval_and_no_formula():
    rows = list(csv.DictReader(io.StringIO(trials_to_csv(ALL))))
    assert [row["state"] for row in rows] == ["complete", "failed", "pruned", "begun"]
    assert [row["folds"] for row in rows] == ["2", "0", "1", "0"]
    figures = ("n", "log_loss", "log_loss_low", "log_loss_high", "accuracy", "accuracy_low", "accuracy_high")
    assert [float(rows[0][name]) for name in figures] == [20, 0.5, 0.4, 0.6, 0.75, 0.5, 0.9]
    assert [rows[1][name] for name in figures[1:]] == [""] * 6
    assert (rows[1]["flip"], rows[1]["reason"]) == ("'=cmd()", "'@loss is no number")
    assert float(rows[2]["rate"]) == 0.1 + 0.2


def test_settings_are_told_in_four_digits():
    assert settings_text({"rate": 0.000217118, "epochs": 12345, "flip": "none"}) == (
        "rate = 0.0002171, epochs = 12345, flip = none"
    )
