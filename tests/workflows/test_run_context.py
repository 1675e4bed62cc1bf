"""The state that the stages of a run share."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.small_runs import MODELS, draw, prepared
from tumorboard.errors import DataError
from tumorboard.predictions import Predictions
from tumorboard.workflows.run_context import RunContext, read_seconds


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    root = tmp_path_factory.mktemp("run")
    draw(root / "data")
    return prepared(root)


def test_models_are_named_in_the_order_of_their_making(context: RunContext) -> None:
    assert context.recipe.names == MODELS


def test_each_model_draws_from_a_seed_of_its_own_that_the_recipes_seed_decides(context: RunContext) -> None:
    other = dataclasses.replace(context, recipe=context.recipe.with_options(None, None, 4))
    names = [*MODELS, "first link"]
    seeds = [one.seed(name) for one in (context, other) for name in names]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**20 for seed in seeds)
    assert seeds == [one.seed(name) for one in (context, other) for name in names]


def test_predictions_are_read_back(context: RunContext) -> None:
    part = context.manifest.select("valid")
    said = Predictions(part.ids, part.labels, part.class_names, np.full((6, 3), 1 / 3))
    path = context.run.predictions("custom", "valid")
    path.parent.mkdir(exist_ok=True)
    path.write_text(said.to_csv())
    found = context.predictions("custom", "valid")
    assert found.ids == part.ids
    np.testing.assert_array_equal(found.probabilities, said.probabilities)


@pytest.mark.parametrize(
    "content", [None, b"\xff\xfe\x00", b"id,label\n"], ids=["missing", "binary", "other"]
)
def test_predictions_that_cannot_be_read_are_named(context: RunContext, content: bytes | None) -> None:
    path = context.run.predictions("nobody", "valid")
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"nobody-valid\.csv"):
        context.predictions("nobody", "valid")


def test_time_adds_up_over_resumes_and_interruptions(
    context: RunContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now = iter([10.0, 12.0, 100.0, 103.5, 200.0, 201.0])
    monkeypatch.setattr("tumorboard.workflows.run_context.time.monotonic", lambda: next(now))

    def interrupted() -> None:
        with context.phase("custom"):
            raise ZeroDivisionError

    assert read_seconds(context.run) == {}
    with context.phase("custom"):
        pass
    with pytest.raises(ZeroDivisionError):
        interrupted()
    with context.phase("ensemble"):
        pass
    assert read_seconds(context.run) == {"custom": 5.5, "ensemble": 1.0}
    assert json.loads(context.run.phases.read_text()) == read_seconds(context.run)


def test_a_context_is_frozen(context: RunContext) -> None:
    anything: Any = context
    with pytest.raises(dataclasses.FrozenInstanceError):
        anything.recipe = None
