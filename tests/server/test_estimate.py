import json

import pytest

from tumorboard.server import estimate as estimates
from tumorboard.server.estimate import estimate
from tumorboard.server.jobs import Job, Jobs
from tumorboard.server.workspace import Workspace


@pytest.fixture
def jobs(root):
    return Jobs(Workspace.of(root))


def finish(jobs, root, name, seconds, images=4, **job):
    run = jobs.begin(name, Job(data="scans", **job))
    jobs.stop(run)
    run.phases.write_text(json.dumps({"custom": seconds, "report": 1.0}))
    run.manifest.write_text("id\n" + "x\n" * images)
    run.report.write_text("")
    return run


def test_the_newest_training_with_the_recipe_is_what_counts(jobs, root) -> None:
    workspace = Workspace.of(root)
    job = Job(data="scans", recipe="notebook")
    assert estimate(workspace, jobs, job) == {"seconds_per_image": None, "measured": ""}
    finish(jobs, root, "other", 399.0)
    finish(jobs, root, "folds", 199.0, recipe="notebook", folds=3)
    finish(jobs, root, "first", 39.0, recipe="notebook")
    found = estimate(workspace, jobs, job)
    assert found["seconds_per_image"] == 10.0
    assert "runs/first" in found["measured"]
    assert estimate(workspace, jobs, job.model_copy(update={"folds": 3}))["seconds_per_image"] == 40.0


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{}", '{"custom": "x"}', '{"custom": -5}', '{"custom": NaN}', '{"custom": Infinity}'),
        *(f'{{"custom": 1{"0" * digits}}}' for digits in (400, 9000)),
        *("[" * 60_000, " " * (1 << 17) + '{"custom": 1}'),
    ],
)
def test_files_that_do_not_say_leave_the_measurement_of_the_default_recipe(jobs, root, content) -> None:
    run = finish(jobs, root, "first", 10.0)
    run.phases.write_text(content)
    found = estimate(Workspace.of(root), jobs, Job(data="scans"))
    assert found == {
        "seconds_per_image": 0.46,
        "measured": "0.46 s per image, as on two cores of an AMD EPYC",
    }


def test_a_training_that_is_deleted_meanwhile_is_no_error(jobs, root, monkeypatch) -> None:
    run = finish(jobs, root, "first", 10.0)
    monkeypatch.setattr(estimates, "_measures", lambda _jobs, run, _job: run.report.unlink() is None)
    assert estimate(Workspace.of(root), jobs, Job(data="scans"))["seconds_per_image"] is not None
    assert not run.report.exists()
