"""The results and the report of a run from its files, and heat maps from its saved models."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.small_models import pixels
from tests.small_predictors import finished
from tests.small_runs import MODELS, SPLITS, draw, prepared
from tumorboard.cli.main import main
from tumorboard.data.manifest import Manifest
from tumorboard.errors import DataError, RunFolderError, UsageError
from tumorboard.evaluation.selective_prediction import fit_calibration
from tumorboard.predictions import Predictions
from tumorboard.run_folder import RunFolder
from tumorboard.workflows import calibrate, report
from tumorboard.workflows.audit import audit_run, subsets_without_shortcuts
from tumorboard.workflows.predictor import load_run
from tumorboard.workflows.report import heat_maps
from tumorboard.workflows.run_context import RunContext, record_test_evaluation

HISTORY = "epoch,loss,accuracy,val_loss,val_accuracy\n1,1.0,0.5,1.1,0.4\n2,0.8,0.6,0.9,0.7\n"


def write_results(context: RunContext) -> None:
    results = report.add_images(context, report.read_results(context))
    report.write_charts(context, results)
    report.write_results(context, results)


@pytest.fixture(scope="module")
def unwritten(tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    """A run that has everything but its results."""
    root = tmp_path_factory.mktemp("unwritten")
    draw(root / "data")
    shutil.copy(root / "data/valid/disc/disc0.png", root / "data/test/disc/disc1.png")
    context = prepared(root)
    draws = np.random.default_rng(0)
    for folder in ("predictions", "history", "models"):
        (context.run.root / folder).mkdir()
    for name in MODELS:
        for split in SPLITS:
            part = context.manifest.select(split)
            rows = draws.dirichlet(np.ones(3), len(part.samples))
            predictions = Predictions(part.ids, part.labels, part.class_names, rows)
            context.run.predictions(name, split).write_text(predictions.to_csv())
    for name in ("custom", "pretrained"):
        context.run.history(name).write_text(HISTORY)
        context.run.model_spec(name).write_text(json.dumps({"details": {"best_epoch": 2, "epochs": 2}}))
    for name in ("ensemble", "chained"):
        context.run.model_spec(name).write_text(json.dumps({"details": {}}))
    audit_run(context)
    record_test_evaluation(context.run, 6)
    return context


def copied(context: RunContext, root: Path) -> RunContext:
    """The same run in a folder of its own; its images are shared."""
    shutil.copytree(context.run.root, root)
    return replace(context, run=RunFolder(root), _predictions={})


@pytest.fixture
def context(unwritten: RunContext, tmp_path: Path) -> RunContext:
    return copied(unwritten, tmp_path / "run")


@pytest.fixture(scope="module")
def written(unwritten: RunContext, tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    """The same run with its results, for tests that only read them."""
    context = copied(unwritten, tmp_path_factory.mktemp("written") / "run")
    valid = {name: context.predictions(name, "valid") for name in context.recipe.names}
    calibrate.write(context.run, {name: fit_calibration(one) for name, one in valid.items()})
    write_results(context)
    return context


def test_the_command_writes_the_results_of_train_again_from_the_files_alone(
    written: RunContext, tmp_path: Path
) -> None:
    run, again = written.run, copied(written, tmp_path / "run").run
    assert set(json.loads(run.metrics.read_text())["models"]) == set(MODELS)
    for path in (again.metrics, again.results, again.report):
        path.write_text("{}")
    assert main(["report", str(again.root)]) == 0
    for name in ("metrics.json", "results.md", "report.html"):
        assert (again.root / name).read_bytes() == (run.root / name).read_bytes()


def test_every_chart_is_written_three_times_and_images_are_in_the_page(written: RunContext) -> None:
    assert b"data:image/jpeg;base64," in written.run.report.read_bytes()
    figures = written.run.root / "figures"
    stems = {path.stem for path in figures.glob("*.svg")}
    assert {"roc-custom", "pr-ensemble", "reliability-chained", "learning-loss-pretrained"} <= stems
    assert {"accuracy-test", "confusion-test-custom", "confusion-valid-ensemble"} <= stems
    for suffix in ("csv", "png"):
        assert stems <= {path.stem for path in figures.glob(f"*.{suffix}")}


def test_every_scoring_of_test_is_counted(written: RunContext, tmp_path: Path) -> None:
    assert "The test split was scored 1 time in this run folder" in written.run.results.read_text()
    context = copied(written, tmp_path / "run")
    record_test_evaluation(context.run, 6)
    write_results(context)
    assert "The test split was scored 2 times in this run folder" in context.run.results.read_text()
    times = json.loads(context.run.test_evaluations.read_text())
    assert [time["images"] for time in times] == [6, 6]
    assert all(time["when"].endswith("+00:00") for time in times)


def test_test_images_that_validation_holds_too_are_set_apart(context: RunContext) -> None:
    (clean,) = subsets_without_shortcuts(context.run, context.manifest)["test"].values()
    assert clean == set(context.manifest.select("test").ids) - {"test/disc/disc1.png"}


def test_time_and_environment_are_told_from_the_runs_own_records(context: RunContext) -> None:
    with context.phase("custom"):
        pass
    made = report.read_provenance(context)
    assert (made.recipe, made.seed, made.environment["backend"]) == ("small", 3, "tensorflow")
    assert made.versions["keras"]
    assert set(made.seconds) == {"custom"}
    assert not made.groups_known


def test_a_lost_file_of_predictions_is_named(context: RunContext) -> None:
    context.run.predictions("custom", "test").unlink()
    with pytest.raises(DataError, match=r"custom-test\.csv"):
        write_results(context)


@pytest.mark.parametrize(
    ("others", "line"),
    [([], "first link pretrained, kept"), (["custom"], "links pretrained and custom, kept")],
)
def test_a_chain_names_its_links(others, line):
    details = {"first": "pretrained", "others": others, "start": "kept"}
    assert report._model_line("chained", details) == f"chained: {line}"


def test_images_that_are_gone_are_said_to_be_gone(context: RunContext, tmp_path: Path) -> None:
    gone = [replace(sample, path=tmp_path / sample.id) for sample in context.manifest.samples]
    write_results(replace(context, manifest=Manifest.of(gone)))
    text = context.run.report.read_text("utf-8")
    assert "The file is no longer where it was." in text
    assert "data:image/jpeg" not in text
    assert "There are no heat maps" in text


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"expected a finished run with metrics\.json"):
        report.report(tmp_path)


@pytest.fixture
def models(tmp_path: Path) -> RunFolder:
    """A finished run of small models."""
    return finished(tmp_path / "run")


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    Image.fromarray(pixels(1, seed=2)[0]).save(tmp_path / "a.png")
    return {"a": tmp_path / "a.png", "gone": tmp_path / "gone.png"}


def test_each_wanted_model_gives_one_small_map(models: RunFolder, paths: dict[str, Path]) -> None:
    found, missing = heat_maps(models, {"a": ["custom"], "gone": ["custom"]}, paths)
    assert missing == "1 image can no longer be read"
    assert list(found) == ["a"]
    assert found["a"][0].caption.startswith("map of custom")
    assert len(found["a"]) == 1
    assert found["a"][0].jpeg.startswith(b"\xff\xd8")
    assert (found, "") == heat_maps(models, {"a": ["custom"]}, paths)
    in_memory = load_run(models.root)
    shutil.rmtree(models.root)
    assert (found, "") == heat_maps(models, {"a": ["custom"]}, paths, in_memory)


def test_time_bounds_how_many_are_made(
    models: RunFolder, paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "_SECONDS", -1.0)
    assert heat_maps(models, {"a": ["custom"]}, paths) == ({}, "1 map would have taken longer than -1 s")


def test_a_model_that_is_gone_leaves_the_report_without_maps(
    models: RunFolder, paths: dict[str, Path]
) -> None:
    shutil.rmtree(models.root / "models")
    maps, missing = heat_maps(models, {"a": ["custom"]}, paths)
    assert not maps
    assert "custom.keras" in missing


def test_without_an_image_no_model_is_loaded(tmp_path: Path) -> None:
    maps, missing = heat_maps(RunFolder(tmp_path), {"gone": ["custom"]}, {"gone": tmp_path / "gone.png"})
    assert not maps
    assert missing == "the images are no longer where they were"
    assert heat_maps(RunFolder(tmp_path), {"gone": []}, {"gone": tmp_path / "gone.png"}) == ({}, "")


def test_a_backend_that_fails_leaves_a_report_that_says_so(
    context: RunContext, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(context)
    capsys.readouterr()

    def fail(*_: object, engine: str) -> None:
        raise UsageError("expected an installed Keras backend, found KERAS_BACKEND=jax; install it")

    monkeypatch.setattr("tumorboard.workflows.predictor.load_run", fail)
    assert main(["report", str(context.run.root)]) == 0
    why = "expected an installed Keras backend, found KERAS_BACKEND=jax; install it."
    printed = " ".join(capsys.readouterr().out.split())
    assert f"Heat maps are missing: {why}" in printed
    limitations = context.run.results.read_text("utf-8").split("### Limitations")[1].split("\n\n### ")[0]
    assert f"Heat maps are missing: {why}" in limitations.replace("\\", "")
    assert f"There are no heat maps: {why}" in context.run.report.read_text("utf-8")


def test_a_map_without_a_dark_place_is_said_to_show_none() -> None:
    assert report._caption("a", np.ones((2, 2), np.float32)) == "map of a: no region stands out"
    assert report._caption("a", np.zeros((2, 2), np.float32)) == "map of a: no region stands out"
    assert report._caption("a", np.eye(2, dtype=np.float32)) == "map of a"
