import json
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tumorboard.evaluation.intervals import wilson, wilson_grouped
from tumorboard.evaluation.scores import score
from tumorboard.predictions import Predictions
from tumorboard.reports import markdown
from tumorboard.reports.cross_validation import (
    CrossValidation,
    cross_validation_json,
    cross_validation_report,
    spread,
)

NAMES = ("cancer", "normal", "other")
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])


def said(answers: Sequence[int]) -> Predictions:
    ids = tuple(f"image{number}" for number in range(len(LABELS)))
    return Predictions(ids, LABELS, NAMES, np.eye(3)[list(answers)] * 0.7 + 0.1)


def cross_validation(shortcuts: tuple[str, ...]) -> CrossValidation:
    """Of the seven images that are not normal, the runs have 4 and 6 right; all normal ones are right."""
    few, many = said([0, 0, 1, 2, 1, 1, 1, 2, 2, 0]), said([0, 0, 0, 0, 1, 1, 1, 2, 2, 1])
    runs = {
        name: {model: dict.fromkeys(("train", "valid", "test"), one) for model in ("custom", "ensemble")}
        for name, one in (("seed-0", few), ("seed-1", many))
    }
    held_out = {"custom": few, "ensemble": many}
    return CrossValidation(held_out, {"mean": many}, runs, {"seed-0": 1.0, "seed-1": 2.0}, shortcuts)


def page(results: CrossValidation) -> str:
    return markdown.render(cross_validation_report(results))


def test_accuracy_is_told_among_the_other_classes_with_n_and_interval() -> None:
    text = page(cross_validation(("normal",))).split("## Without the shortcut classes")[1]
    low, high = wilson(5, 7)
    assert f"| custom | {5 / 7:.3f} ({low:.3f}-{high:.3f}) | 2 | {4 / 7:.3f} | {6 / 7:.3f} |" in text
    assert f"{4 / 7:.3f}" in text.split("| ensemble")[0]
    assert "n = 7" in text


def test_the_same_is_there_for_machines() -> None:
    content = json.loads(cross_validation_json(cross_validation(("normal",))))
    others = content["without_shortcut_classes"]
    assert others["classes"] == ["normal"]
    assert others["folds"]["custom"]["accuracy"]["n"] == 7
    assert others["folds"]["custom"]["accuracy"]["value"] == pytest.approx(4 / 7)
    assert others["seeds"]["custom test accuracy"]["mean"] == pytest.approx(5 / 7)
    assert content["seeds"]["custom test accuracy"]["mean"] == pytest.approx(0.8)


def test_without_a_shortcut_there_is_nothing_to_leave_out() -> None:
    assert "shortcut classes" not in page(cross_validation(()))
    others = json.loads(cross_validation_json(cross_validation(())))["without_shortcut_classes"]
    assert others == {"classes": [], "folds": {}, "combination_methods": {}, "seeds": {}}


RIGHT, ONE_OFF, SIX_OFF = LABELS.tolist(), [1, *LABELS[1:]], [*(2 - LABELS[:4]), 0, 0, *LABELS[6:]]


@pytest.mark.parametrize(
    ("joint", "alone", "verdict"),
    [
        (
            RIGHT,
            SIX_OFF,
            "is more accurate than its best member, custom: 1.000 and 0.400 ({}0.031).",
        ),
        (
            SIX_OFF,
            RIGHT,
            "is less accurate than its best member, custom: 0.400 and 1.000 ({}0.031).",
        ),
        (
            RIGHT,
            ONE_OFF,
            "The ensemble is not shown to be better than its best member, custom: 1.000 and 0.900 ({}1).",
        ),
    ],
)
def test_an_ensemble_beats_its_best_member_only_if_the_test_says_so(
    joint: list[int], alone: list[int], verdict: str
) -> None:
    one = replace(cross_validation(()), held_out={"custom": said(alone)}, methods={"mean": said(joint)})
    assert verdict.format("exact McNemar test, p = ") in page(one)


def test_where_groups_are_known_intervals_and_the_test_know_them() -> None:
    """Six images of one patient that are right together are one observation, not six."""
    ids = said(RIGHT).ids
    groups = dict.fromkeys(ids[:6], "one patient")
    one = replace(
        cross_validation(("other",)), held_out={"custom": said(SIX_OFF)}, methods={"mean": said(RIGHT)}
    )
    alone, together = page(one), page(replace(one, groups=groups))
    assert (
        "is more accurate than its best member, custom: 1.000 and 0.400 (exact McNemar test, p = 0.031)"
        in alone
    )
    verdict = "is not shown to be better than its best member, custom: 1.000 and 0.400"
    assert f"{verdict} (grouped permutation test, p = 1)" in together
    assert "resample whole groups (patients), of which there are 5." in together
    per_image = re.sub(r"## Per patient\n.*?(?=\n## )", "", together, flags=re.DOTALL)
    assert per_image.count("\n\n\\* interval unreliable") == alone.count("\n\n\\* interval unreliable") > 1
    assert "groups" not in alone
    assert "Per patient" not in alone
    assert "| model | combined by | accuracy per image (n = 10) | accuracy per patient (n = 6) |" in together
    low, high = wilson_grouped(
        np.array(SIX_OFF)[np.argsort(ids)] == LABELS[np.argsort(ids)], np.array([0] * 6 + [1, 2, 3, 4])
    )
    assert f"| custom | 0.400 ({low:.3f}-{high:.3f}) |" in together
    assert f"| custom | 0.400 ({low:.3f}-{high:.3f}) |" not in alone


def test_the_mean_over_seeds_has_an_interval_that_knows_the_groups() -> None:
    one = cross_validation(("normal",))
    groups = dict.fromkeys(said(RIGHT).ids[:4], "one patient")
    hits = np.array([1, 1, 0.5, 0.5, 1, 1, 0])
    low, high = wilson_grouped(hits, np.array([0, 0, 0, 0, 1, 2, 3]))
    text = page(replace(one, groups=groups)).split("## Without the shortcut classes")[1]
    assert f"| custom | {5 / 7:.3f} ({low:.3f}-{high:.3f}) | 2 |" in text


def test_one_value_has_no_deviation() -> None:
    assert (spread([0.5]).sd, spread([0.5]).n) == (None, 1)
    assert spread([1.0, 2.0, 3.0]).sd == pytest.approx(1.0)
    one = cross_validation(())
    text = page(replace(one, runs={"seed-0": one.runs["seed-0"]}))
    assert "One seed: how much another one would change is not known." in text
    assert "| n/a |" in text


def test_the_left_out_class_is_in_none_of_the_predictions() -> None:
    others = cross_validation(("normal",)).without_shortcuts
    assert set(others.held_out["custom"].labels) == {0, 2}
    assert {len(one) for splits in others.runs["seed-1"].values() for one in splits.values()} == {7}
    accuracy = others.spreads["custom", "test", "accuracy"]
    assert (accuracy.low, accuracy.high) == pytest.approx((4 / 7, 6 / 7))


def test_spreads_are_those_of_the_scores() -> None:
    one = cross_validation(())
    values = [score(models["custom"]["test"]).loss.value for models in one.runs.values()]
    assert one.spreads["custom", "test", "log loss"].mean == sum(values) / 2
