"""Heat maps for the report, from models on disk."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.small_models import pixels
from tests.small_predictors import finished
from tumorboard.run_folder import RunFolder
from tumorboard.workflows import report as module
from tumorboard.workflows.report import heat_maps


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return finished(tmp_path / "run")


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    Image.fromarray(pixels(1, seed=2)[0]).save(tmp_path / "a.png")
    return {"a": tmp_path / "a.png", "gone": tmp_path / "gone.png"}


def test_each_wanted_model_gives_one_small_map(run: RunFolder, paths: dict[str, Path]) -> None:
    found = heat_maps(run, {"a": ["custom"], "gone": ["custom"]}, paths)
    assert list(found) == ["a"]
    assert found["a"][0].caption.startswith("map of custom")
    assert len(found["a"]) == 1
    assert found["a"][0].jpeg.startswith(b"\xff\xd8")
    assert found == heat_maps(run, {"a": ["custom"]}, paths)


def test_time_bounds_how_many_are_made(
    run: RunFolder, paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SECONDS", -1.0)
    assert not heat_maps(run, {"a": ["custom"]}, paths)


def test_a_model_that_is_gone_leaves_the_report_without_maps(run: RunFolder, paths: dict[str, Path]) -> None:
    shutil.rmtree(run.root / "models")
    assert not heat_maps(run, {"a": ["custom"]}, paths)


def test_without_an_image_no_model_is_loaded(tmp_path: Path) -> None:
    assert not heat_maps(RunFolder(tmp_path), {"gone": ["custom"]}, {"gone": tmp_path / "gone.png"})


def test_a_map_without_a_dark_place_is_said_to_show_none() -> None:
    assert module._caption("a", np.ones((2, 2), np.float32)) == "map of a: no place stands out"
    assert module._caption("a", np.zeros((2, 2), np.float32)) == "map of a: no place stands out"
    assert module._caption("a", np.eye(2, dtype=np.float32)) == "map of a"
