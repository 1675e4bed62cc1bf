"""Heat maps for the report, from models on disk."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.small_boards import finished
from tests.small_models import pixels
from tumorboard.pipeline import maps as module
from tumorboard.pipeline.maps import maps
from tumorboard.runfolder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return finished(tmp_path / "run")


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    Image.fromarray(pixels(1, seed=2)[0]).save(tmp_path / "a.png")
    return {"a": tmp_path / "a.png", "gone": tmp_path / "gone.png"}


def test_each_wanted_model_gives_one_small_map(run: RunFolder, paths: dict[str, Path]) -> None:
    found = maps(run, {"a": ["custom"], "gone": ["custom"]}, paths)
    assert list(found) == ["a"]
    assert [one.caption for one in found["a"]] == ["map of custom"]
    assert found["a"][0].jpeg.startswith(b"\xff\xd8")
    assert found == maps(run, {"a": ["custom"]}, paths)


def test_time_bounds_how_many_are_made(
    run: RunFolder, paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SECONDS", -1.0)
    assert not maps(run, {"a": ["custom"]}, paths)


def test_a_model_that_is_gone_leaves_the_report_without_maps(run: RunFolder, paths: dict[str, Path]) -> None:
    shutil.rmtree(run.root / "models")
    assert not maps(run, {"a": ["custom"]}, paths)


def test_without_an_image_no_model_is_loaded(tmp_path: Path) -> None:
    assert not maps(RunFolder(tmp_path), {"gone": ["custom"]}, {"gone": tmp_path / "gone.png"})
