"""The report from a run folder, without any network."""

import shutil
from pathlib import Path

import pytest

from tests.workflows.test_results import job, write_results  # noqa: F401  the fixture
from tumorboard.cli.main import main
from tumorboard.errors import RunFolderError
from tumorboard.evaluation.selective_prediction import fit_calibration
from tumorboard.workflows import calibrate, report
from tumorboard.workflows.run_context import RunContext


@pytest.fixture
def run(job: RunContext) -> Path:  # noqa: F811
    valid = {name: job.predictions(name, "valid") for name in job.recipe.names}
    calibrate.write(job.run, {name: fit_calibration(one) for name, one in valid.items()})
    write_results(job)
    return job.run.root


def test_the_command_writes_the_page_of_train_and_every_chart_three_times(
    run: Path,
    job: RunContext,  # noqa: F811
) -> None:
    written = job.run.report.read_bytes()
    job.run.report.unlink()
    assert main(["report", str(run)]) == 0
    assert job.run.report.read_bytes() == written
    assert b"data:image/jpeg;base64," in written
    stems = {path.stem for path in (run / "figures").glob("*.svg")}
    assert {"roc-custom", "pr-ensemble", "reliability-chained", "learning-loss-pretrained"} <= stems
    assert {"accuracy-test", "confusion-test-custom", "confusion-valid-ensemble"} <= stems
    for suffix in ("csv", "png"):
        assert stems <= {path.stem for path in (run / "figures").glob(f"*.{suffix}")}


def test_images_that_are_gone_are_said_to_be_gone(run: Path, job: RunContext) -> None:  # noqa: F811
    shutil.rmtree(job.manifest.samples[0].path.parents[2])
    write_results(job)
    text = (run / "report.html").read_text("utf-8")
    assert "The file is no longer where it was." in text
    assert "data:image/jpeg" not in text
    assert "There are no heat maps" in text


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"expected a finished run with metrics\.json"):
        report.report(tmp_path)
