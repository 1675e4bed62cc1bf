"""The study over folds and seeds, small enough to be run whole; every run in it is an ordinary one."""

import contextlib
import io
import json
from collections import Counter

import numpy as np
import pytest

from tests.small_runs import CLASSES, COUNTS, MODELS, RECIPE, add_tiny_backbone, draw
from tumorboard.cli.main import main
from tumorboard.models.catalogue import BACKBONES
from tumorboard.predictions import Predictions
from tumorboard.runfolder import RunFolder

SEEDS = (3, 4)


def command(root):
    return ["train", str(root / "data"), "--out", str(root / "all"), "--recipe", str(root / "recipe.toml")]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("repeats")
    draw(root / "data")
    (root / "recipe.toml").write_text(RECIPE)
    add_tiny_backbone()
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main([*command(root), "--folds", "2", "--seeds", "2", "--json"])
    assert code == 0
    (root / "printed.json").write_text(out.getvalue())
    yield root
    BACKBONES.pop("tiny")


def said(run, model, split):
    path = RunFolder(run).predictions(model, split)
    return Predictions.from_csv(path.read_text(), str(path))


def test_every_image_but_tests_is_held_out_once(root):
    held_out = [said(root / "all" / "folds" / f"fold-{k}", "custom", "test") for k in (1, 2)]
    count = Counter(name for one in held_out for name in one.ids)
    assert set(count.values()) == {1}
    assert len(count) == len(CLASSES) * (COUNTS["train"] + COUNTS["valid"])
    assert not any("test/" in name for name in count)


def test_all_seeds_share_one_split_and_differ(root):
    first, second = (root / "all" / f"seed-{seed}" for seed in SEEDS)
    for split in COUNTS:
        assert said(first, "custom", split).ids == said(second, "custom", split).ids
    a, b = (said(run, "custom", "valid").probabilities for run in (first, second))
    assert not np.array_equal(a, b)


def test_figures_are_those_of_the_runs(root):
    printed = json.loads((root / "printed.json").read_text())
    for model in MODELS:
        held_out = [said(root / "all" / "folds" / f"fold-{k}", model, "test") for k in (1, 2)]
        right = sum(int((one.predicted == one.labels).sum()) for one in held_out)
        found = printed["folds"][model]["accuracy"]
        assert found["n"] == sum(len(one) for one in held_out)
        assert found["value"] == pytest.approx(right / found["n"])
        each = [said(root / "all" / f"seed-{seed}", model, "test") for seed in SEEDS]
        accuracies = [float((one.predicted == one.labels).mean()) for one in each]
        spread = printed["seeds"][f"{model} test accuracy"]
        assert spread["mean"] == pytest.approx(np.mean(accuracies))
        assert spread["sd"] == pytest.approx(np.std(accuracies, ddof=1))
        assert (spread["low"], spread["high"]) == (min(accuracies), max(accuracies))


def test_the_runs_use_the_form_that_the_folds_chose(root):
    page = (root / "all" / "results.md").read_text()
    chosen = page.split("Chosen for the runs below: **")[1].split("**")[0]
    for seed in SEEDS:
        contract = json.loads((root / "all" / f"seed-{seed}" / "models" / "ensemble.json").read_text())
        assert contract["details"]["form"] == chosen


def test_a_repeated_command_trains_nothing_again(root):
    models = sorted((root / "all").rglob("*.keras"))
    before = [path.stat().st_mtime_ns for path in models]
    assert len(models) == 4 * 4
    with contextlib.redirect_stdout(io.StringIO()):
        assert main([*command(root), "--folds", "2", "--seeds", "2", "--quiet"]) == 0
    assert [path.stat().st_mtime_ns for path in models] == before


@pytest.mark.parametrize("flags", [("--folds", "1"), ("--seeds", "0"), ("--folds", "-2")])
def test_numbers_out_of_range_are_one_line(root, flags, capsys):
    assert main([*command(root), *flags]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
