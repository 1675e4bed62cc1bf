"""From predictions on disk to tables and figures, without any network."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.small_runs import MODELS, SPLITS, draw
from tests.workflows.test_prepare import prepared
from tumorboard.errors import DataError
from tumorboard.predictions import Predictions
from tumorboard.workflows import report
from tumorboard.workflows.audit import audit_images, subsets_without_shortcuts
from tumorboard.workflows.run_context import RunContext, record_test_evaluation

HISTORY = "epoch,loss,accuracy,val_loss,val_accuracy\n1,1.0,0.5,1.1,0.4\n2,0.8,0.6,0.9,0.7\n"


def write_results(job: RunContext) -> None:
    report.write_results(job, report.read_results(job))


@pytest.fixture
def job(tmp_path: Path) -> RunContext:
    """A run that has everything but its results."""
    draw(tmp_path / "data")
    shutil.copy(tmp_path / "data/valid/disc/disc0.png", tmp_path / "data/test/disc/disc1.png")
    job = prepared(tmp_path)
    draws = np.random.default_rng(0)
    for folder in ("predictions", "history", "models"):
        (job.run.root / folder).mkdir()
    for name in MODELS:
        for split in SPLITS:
            part = job.part(split)
            said = draws.dirichlet(np.ones(3), len(part.samples))
            record = Predictions(part.ids, part.labels, part.class_names, said)
            job.run.predictions(name, split).write_text(record.to_csv())
    for name in ("custom", "pretrained"):
        job.run.history(name).write_text(HISTORY)
        job.run.model_spec(name).write_text(json.dumps({"details": {"best_epoch": 2, "epochs": 2}}))
    for name in ("ensemble", "chained"):
        job.run.model_spec(name).write_text(json.dumps({"details": {}}))
    audit_images(job)
    record_test_evaluation(job.run, 6)
    return job


def test_results_are_written_from_the_files_alone_and_the_same_again(job: RunContext) -> None:
    write_results(job)
    written = {path: path.read_bytes() for path in (job.run.metrics, job.run.results)}
    assert set(json.loads(job.run.metrics.read_text())["models"]) == set(MODELS)
    write_results(job)
    assert {path: path.read_bytes() for path in written} == written


def test_every_look_at_test_is_counted_and_told(job: RunContext) -> None:
    write_results(job)
    assert "The test split was scored 1 time in this run folder" in job.run.results.read_text()
    record_test_evaluation(job.run, 6)
    write_results(job)
    assert "The test split was scored 2 times in this run folder" in job.run.results.read_text()
    looks = json.loads(job.run.test_evaluations.read_text())
    assert [look["images"] for look in looks] == [6, 6]
    assert all(look["when"].endswith("+00:00") for look in looks)


def test_test_images_that_validation_holds_too_are_set_apart(job: RunContext) -> None:
    (clean,) = subsets_without_shortcuts(job.run, job.manifest)["test"].values()
    assert clean == set(job.part("test").ids) - {"test/disc/disc1.png"}


def test_time_and_environment_are_told_from_the_runs_own_records(job: RunContext) -> None:
    with job.phase("custom"):
        pass
    made = report.read_provenance(job)
    assert (made.recipe, made.seed, made.environment["backend"]) == ("small", 3, "tensorflow")
    assert made.versions["keras"]
    assert set(made.seconds) == {"custom"}
    assert not made.groups_known


def test_a_lost_file_of_predictions_is_named(job: RunContext) -> None:
    job.run.predictions("custom", "test").unlink()
    with pytest.raises(DataError, match=r"custom-test\.csv"):
        write_results(job)


@pytest.mark.parametrize(
    ("others", "expected"),
    [([], "first link pretrained, kept"), (["custom"], "links pretrained and custom, kept")],
)
def test_a_chain_names_its_links(others, expected):
    details = {"first": "pretrained", "others": others, "start": "kept"}
    assert report._model_line("chained", details) == f"chained: {expected}"
