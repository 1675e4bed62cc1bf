import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tumorboard.evaluation.intervals import wilson
from tumorboard.predictions import Predictions
from tumorboard.reporting.repeated import Repeats
from tumorboard.reporting.repeats import repeats_json, repeats_md

NAMES = ("cancer", "normal", "other")
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])


def said(answers: Sequence[int]) -> Predictions:
    ids = tuple(f"image{number}" for number in range(len(LABELS)))
    return Predictions(ids, LABELS, NAMES, np.eye(3)[list(answers)] * 0.7 + 0.1)


def study(shortcuts: tuple[str, ...]) -> Repeats:
    """Of the seven images that are not normal, the runs have 4 and 6 right; all normal ones are right."""
    few, many = said([0, 0, 1, 2, 1, 1, 1, 2, 2, 0]), said([0, 0, 0, 0, 1, 1, 1, 2, 2, 1])
    runs = {
        name: {model: dict.fromkeys(("train", "valid", "test"), one) for model in ("custom", "ensemble")}
        for name, one in (("seed-0", few), ("seed-1", many))
    }
    held_out = {"custom": few, "ensemble": many}
    return Repeats(held_out, {"B": many}, runs, {"seed-0": 1.0, "seed-1": 2.0}, shortcuts)


def test_accuracy_is_told_among_the_other_classes_with_n_and_interval() -> None:
    page = repeats_md(study(("normal",))).split("## Among the other classes")[1]
    low, high = wilson(5, 7)
    assert f"| custom | {5 / 7:.3f} ({low:.3f} to {high:.3f}) | 7 | 2 | {4 / 7:.3f} | {6 / 7:.3f} |" in page
    assert f"{4 / 7:.3f}" in page.split("| ensemble")[0]
    assert "n = 7" in page


def test_the_same_is_there_for_machines() -> None:
    content = json.loads(repeats_json(study(("normal",))))
    others = content["without_classes_that_metadata_give_away"]
    assert others["classes"] == ["normal"]
    assert others["folds"]["custom"]["accuracy"]["n"] == 7
    assert others["folds"]["custom"]["accuracy"]["value"] == pytest.approx(4 / 7)
    assert others["seeds"]["custom test accuracy"]["mean"] == pytest.approx(5 / 7)
    assert content["seeds"]["custom test accuracy"]["mean"] == pytest.approx(0.8)


def test_without_a_shortcut_there_is_nothing_to_leave_out() -> None:
    assert "Among the other classes" not in repeats_md(study(()))
    others = json.loads(repeats_json(study(())))["without_classes_that_metadata_give_away"]
    assert others == {"classes": [], "folds": {}, "ways_to_combine": {}, "seeds": {}}


RIGHT, ONE_OFF, SIX_OFF = LABELS.tolist(), [1, *LABELS[1:]], [*(2 - LABELS[:4]), 0, 0, *LABELS[6:]]


@pytest.mark.parametrize(
    ("joint", "alone", "verdict"),
    [
        (RIGHT, SIX_OFF, "It beats its best member, custom: 1.000 against 0.400 ({}0.031)."),
        (SIX_OFF, RIGHT, "It is worse than its best member, custom: 0.400 against 1.000 ({}0.031)."),
        (
            RIGHT,
            ONE_OFF,
            "Nothing shows that it is better than its best member, custom: 1.000 against 0.900 ({}1).",
        ),
    ],
)
def test_an_ensemble_beats_its_best_member_only_if_the_test_says_so(
    joint: list[int], alone: list[int], verdict: str
) -> None:
    one = replace(study(()), held_out={"custom": said(alone)}, ways={"B": said(joint)})
    assert verdict.format("exact McNemar test, p = ") in repeats_md(one)
