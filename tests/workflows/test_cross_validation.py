"""Cross-validation and seeds, small enough to be run completely; every run in it is an ordinary one."""

import contextlib
import io
import json
import math
from collections import Counter
from unittest.mock import Mock

import numpy as np
import pytest

from tests.small_runs import CLASSES, COUNTS, MODELS, RECIPE, deepen, divided_patients, draw, draw_patients
from tumorboard.cli.main import main
from tumorboard.config import Image, parse
from tumorboard.data.image_reader import read_input
from tumorboard.data.manifest import read_csv
from tumorboard.models import saving
from tumorboard.models.inference import probabilities
from tumorboard.predictions import Predictions
from tumorboard.run_folder import RunFolder
from tumorboard.workflows import cross_validation
from tumorboard.workflows.cross_validation import cross_validate
from tumorboard.workflows.predictor import load_run

SEEDS = (3, 4)


def command(root):
    return [
        "train",
        str(root / "data.csv"),
        "--out",
        str(root / "all"),
        "--recipe",
        str(root / "recipe.toml"),
    ]


def table(root):
    """Two images each of a patient."""
    yield "path,label,split,group\n"
    for split in COUNTS:
        for name in CLASSES:
            for number, file in enumerate(sorted((root / "data" / split / name).iterdir())):
                yield f"{file.relative_to(root)},{name},{split},{split} {name} {number // 2}\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("repeats")
    draw(root / "data")
    (root / "data.csv").write_text("".join(table(root)))
    (root / "recipe.toml").write_text(RECIPE)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main([*command(root), "--folds", "2", "--seeds", "2", "--bag", "--json"])
    assert code == 0
    (root / "printed.json").write_text(out.getvalue())
    return root


def read_predictions(run, model, split):
    path = RunFolder(run).predictions(model, split)
    return Predictions.from_csv(path.read_text(), str(path))


def test_all_runs_read_grey_with_one_depth(tmp_path, monkeypatch):
    """The largest value may lie in one fold only."""
    draw(tmp_path / "data")
    deepen(tmp_path / "data", 1)
    deepen(tmp_path / "data", 16, "train/bar")

    def stop(plans, *_):
        raise Stopped({plan.recipe.image.depth for plan in plans})

    monkeypatch.setattr(cross_validation, "_execute_unfinished", stop)
    for options in ({"folds": 2}, {"folds": 0, "seeds": 2}):
        with pytest.raises(Stopped, match=r"\{12\}"):
            cross_validate(
                tmp_path / "data", tmp_path / f"all-{options['folds']}", parse(RECIPE, "small"), **options
            )


@pytest.mark.parametrize("in_names", [False, True])
def test_folds_keep_patients_together(tmp_path, monkeypatch, in_names):
    def stop(*_):
        raise Stopped

    monkeypatch.setattr(cross_validation, "_execute_unfinished", stop)
    data, patients = draw_patients(tmp_path, in_names=in_names)
    for keep_together in ("found", "given"):
        recipe = parse(f'{RECIPE}\n[splitting]\nkeep_together = "{keep_together}"', "small")
        with pytest.raises(Stopped):
            cross_validate(data, tmp_path / keep_together, recipe, folds=2)
        # Only groups that nobody named may be separated, and only where the recipe says so.
        divided = divided_patients(tmp_path / keep_together / "folds", patients)
        assert bool(divided) == (in_names and keep_together == "given")


class Stopped(Exception):
    """Nothing is trained."""


def test_every_image_but_tests_is_held_out_once(root):
    held_out = [read_predictions(root / "all" / "folds" / f"fold-{k}", "custom", "test") for k in (1, 2)]
    count = Counter(name for one in held_out for name in one.ids)
    assert set(count.values()) == {1}
    assert len(count) == len(CLASSES) * (COUNTS["train"] + COUNTS["valid"])
    assert not any("test/" in name for name in count)


def test_runs_that_people_predict_with_have_a_joint_graph_and_folds_have_none(root):
    has_graph = {
        run: RunFolder(root / "all" / run).joint_graph.is_file()
        for run in ("folds/fold-1", "folds/fold-2", "seed-3", "seed-4", "bagged")
    }
    assert [run for run, made in has_graph.items() if not made] == ["folds/fold-1", "folds/fold-2"]


def test_all_seeds_share_one_split_and_differ(root):
    first, second = (root / "all" / f"seed-{seed}" for seed in SEEDS)
    for split in COUNTS:
        assert read_predictions(first, "custom", split).ids == read_predictions(second, "custom", split).ids
    a, b = (read_predictions(run, "custom", "valid").probabilities for run in (first, second))
    assert not np.array_equal(a, b)


def test_figures_are_those_of_the_runs(root):
    printed = json.loads((root / "printed.json").read_text())
    for model in MODELS:
        held_out = [read_predictions(root / "all" / "folds" / f"fold-{k}", model, "test") for k in (1, 2)]
        right = sum(int((one.predicted == one.labels).sum()) for one in held_out)
        found = printed["folds"][model]["accuracy"]
        assert found["n"] == sum(len(one) for one in held_out)
        assert found["value"] == pytest.approx(right / found["n"])
        each = [read_predictions(root / "all" / f"seed-{seed}", model, "test") for seed in SEEDS]
        accuracies = [float((one.predicted == one.labels).mean()) for one in each]
        spread = printed["seeds"][f"{model} test accuracy"]
        assert spread["mean"] == pytest.approx(np.mean(accuracies))
        assert spread["sd"] == pytest.approx(np.std(accuracies, ddof=1))
        assert (spread["low"], spread["high"]) == (min(accuracies), max(accuracies))


def test_intervals_of_the_folds_are_of_patients(root):
    printed = json.loads((root / "printed.json").read_text())
    patients = len(CLASSES) * (math.ceil(COUNTS["train"] / 2) + math.ceil(COUNTS["valid"] / 2))
    assert {one["groups"] for one in printed["folds"].values()} == {patients}
    assert {one["groups"] for one in printed["combination_methods"].values()} == {patients}
    for file in ("results.md", "report.html"):
        assert (
            f"resample whole groups (patients), of which there are {patients}."
            in (root / "all" / file).read_text()
        )


def test_the_runs_use_the_form_that_the_folds_chose(root):
    page = (root / "all" / "results.md").read_text()
    chosen = page.split("**Chosen: ")[1].split(".**")[0]
    for seed in SEEDS:
        spec = json.loads((root / "all" / f"seed-{seed}" / "models" / "ensemble.json").read_text())
        assert spec["details"]["form"] == chosen


def test_mirror_images_are_judged_beside_the_other_ways(root):
    printed = json.loads((root / "printed.json").read_text())
    members, right = ("pretrained", "custom"), 0
    for k in (1, 2):
        run = RunFolder(root / "all" / "folds" / f"fold-{k}")
        part = read_csv(run.manifest.read_text(), "manifest.csv").select("test")
        images = np.stack([read_input(one.path, Image(size=32)) for one in part.samples])
        twice = [
            probabilities(saving.load(run.model(name))[0], turned)
            for name in members
            for turned in (images, images[:, :, ::-1])
        ]
        right += int((np.mean(twice, axis=0).argmax(axis=1) == part.labels).sum())
        for name in members:
            assert read_predictions(run.root, name, "test-mirrored").ids == part.ids
    found = printed["combination_methods"]["mirrored"]["accuracy"]
    assert found["value"] == pytest.approx(right / found["n"])


def test_the_bag_is_the_mean_of_the_folds_ensembles_and_scored_on_test_alone(root):
    folder = root / "all" / "bagged"
    part = read_csv(RunFolder(root / "all" / "data").manifest.read_text(), "manifest.csv").select("test")
    images = np.stack([read_input(one.path, Image(size=32)) for one in part.samples])
    answers = [
        probabilities(
            saving.load(RunFolder(root / "all" / "folds" / f"fold-{k}").model("ensemble"))[0], images
        )
        for k in (1, 2)
    ]
    path = folder / "evaluations" / "manifest" / "bagged.csv"
    found = Predictions.from_csv(path.read_text(), "bagged.csv")
    assert found.ids == read_predictions(root / "all" / "seed-3", "ensemble", "test").ids
    np.testing.assert_allclose(found.probabilities, np.mean(answers, axis=0), rtol=0, atol=1e-6)
    folds = [RunFolder(root / "all" / "folds" / f"fold-{k}").manifest for k in (1, 2)]
    seen = {one.path.resolve() for file in folds for one in read_csv(file.read_text(), "m").samples}
    assert len(seen) == len(CLASSES) * (COUNTS["train"] + COUNTS["valid"])
    assert not seen & {one.path.resolve() for one in part.samples}
    scored = json.loads((folder / "test_evaluations.json").read_text())
    assert len(scored) == 1  # a repeated command does not score test again
    assert len(load_run(folder).models) == 1


def test_a_repeated_command_trains_nothing_again(root, monkeypatch, capsys):
    models, report = sorted((root / "all").rglob("*.keras")), root / "all" / "report.html"
    before, written = [path.stat().st_mtime_ns for path in models], report.read_bytes()
    assert len(models) == 4 * 4 + 1
    report.unlink()
    repeated = [*command(root), "--folds", "2", "--seeds", "2", "--bag"]
    assert main([*repeated, "--quiet"]) == 0
    assert report.read_bytes() == written
    monkeypatch.setattr(cross_validation, "run_executor", None)  # not needed: nothing is left to do
    assert main(repeated) == 0
    assert capsys.readouterr().err.endswith(" is finished; nothing is trained again\n")
    assert [path.stat().st_mtime_ns for path in models] == before


def test_results_of_fewer_runs_are_not_those_that_are_there(root, monkeypatch):
    monkeypatch.setattr(cross_validation, "run_executor", stopped := Mock(side_effect=InterruptedError))
    with pytest.raises(InterruptedError):
        main([*command(root), "--folds", "2", "--seeds", "1"])
    stopped.assert_called_once()


@pytest.mark.parametrize("flags", [("--bag",), ("--folds", "1"), ("--seeds", "0"), ("--folds", "-2")])
def test_numbers_out_of_range_are_one_line(root, flags, capsys):
    assert main([*command(root), *flags]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
