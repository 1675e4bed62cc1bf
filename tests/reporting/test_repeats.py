import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tumorboard.evaluation.intervals import wilson, wilson_grouped
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
    return Repeats(held_out, {"mean": many}, runs, {"seed-0": 1.0, "seed-1": 2.0}, shortcuts)


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
    one = replace(study(()), held_out={"custom": said(alone)}, ways={"mean": said(joint)})
    assert verdict.format("exact McNemar test, p = ") in repeats_md(one)


def test_where_groups_are_known_intervals_and_the_test_know_them() -> None:
    """Six images of one patient that are right together are one observation, not six."""
    ids = said(RIGHT).ids
    groups = dict.fromkeys(ids[:6], "one patient")
    one = replace(study(("other",)), held_out={"custom": said(SIX_OFF)}, ways={"mean": said(RIGHT)})
    alone, together = repeats_md(one), repeats_md(replace(one, groups=groups))
    assert "It beats its best member, custom: 1.000 against 0.400 (exact McNemar test, p = 0.031)" in alone
    verdict = "Nothing shows that it is better than its best member, custom: 1.000 against 0.400"
    assert f"{verdict} (grouped permutation test, p = 1)" in together
    assert "draw whole groups, of which there are 5." in together
    assert together.count("\n\n\\* interval unreliable") == alone.count("\n\n\\* interval unreliable") > 1
    assert "groups" not in alone
    low, high = wilson_grouped(
        np.array(SIX_OFF)[np.argsort(ids)] == LABELS[np.argsort(ids)], np.array([0] * 6 + [1, 2, 3, 4])
    )
    assert f"| custom | 0.400 ({low:.3f} to {high:.3f}), n = 10 |" in together
    assert f"| custom | 0.400 ({low:.3f} to {high:.3f}), n = 10 |" not in alone


def test_the_mean_over_seeds_has_an_interval_that_knows_the_groups() -> None:
    one = study(("normal",))
    groups = dict.fromkeys(said(RIGHT).ids[:4], "one patient")
    hits = np.array([1, 1, 0.5, 0.5, 1, 1, 0])
    low, high = wilson_grouped(hits, np.array([0, 0, 0, 0, 1, 2, 3]))
    page = repeats_md(replace(one, groups=groups)).split("## Among the other classes")[1]
    assert f"| custom | {5 / 7:.3f} ({low:.3f} to {high:.3f}) | 7 |" in page
