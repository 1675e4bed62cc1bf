import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.small_runs import MODELS, draw
from tests.workflows.test_prepare import prepared
from tumorboard.errors import DataError
from tumorboard.predictions import Predictions
from tumorboard.workflows.run_context import RunContext


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    root = tmp_path_factory.mktemp("job")
    draw(root / "data")
    return prepared(root)


def test_models_are_named_in_the_order_of_their_making(job: RunContext) -> None:
    assert job.recipe.names == MODELS


def test_each_thing_draws_from_a_seed_of_its_own_that_the_recipes_seed_decides(job: RunContext) -> None:
    other = dataclasses.replace(job, recipe=job.recipe.with_options(None, None, 4))
    names = [*MODELS, "first link"]
    seeds = [one.seed(name) for one in (job, other) for name in names]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**20 for seed in seeds)
    assert seeds == [one.seed(name) for one in (job, other) for name in names]


def test_predictions_are_read_back(job: RunContext) -> None:
    part = job.part("valid")
    said = Predictions(part.ids, part.labels, part.class_names, np.full((6, 3), 1 / 3))
    path = job.run.predictions("custom", "valid")
    path.parent.mkdir(exist_ok=True)
    path.write_text(said.to_csv())
    found = job.predictions("custom", "valid")
    assert found.ids == part.ids
    np.testing.assert_array_equal(found.probabilities, said.probabilities)


@pytest.mark.parametrize(
    "content", [None, b"\xff\xfe\x00", b"id,label\n"], ids=["missing", "binary", "other"]
)
def test_predictions_that_cannot_be_read_are_named(job: RunContext, content: bytes | None) -> None:
    path = job.run.predictions("nobody", "valid")
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"nobody-valid\.csv"):
        job.predictions("nobody", "valid")


def test_time_adds_up_over_resumes_and_interruptions(
    job: RunContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now = iter([10.0, 12.0, 100.0, 103.5, 200.0, 201.0])
    monkeypatch.setattr("tumorboard.workflows.run_context.time.monotonic", lambda: next(now))

    def interrupted() -> None:
        with job.phase("custom"):
            raise ZeroDivisionError

    assert job.seconds() == {}
    with job.phase("custom"):
        pass
    with pytest.raises(ZeroDivisionError):
        interrupted()
    with job.phase("ensemble"):
        pass
    assert job.seconds() == {"custom": 5.5, "ensemble": 1.0}
    assert json.loads(job.run.phases.read_text()) == job.seconds()


def test_a_job_is_frozen(job: RunContext) -> None:
    anything: Any = job
    with pytest.raises(dataclasses.FrozenInstanceError):
        anything.recipe = None
