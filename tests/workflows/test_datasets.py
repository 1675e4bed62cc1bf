"""The data set from Kaggle, with a stand-in for Kaggle, and the demo."""

import errno
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from tumorboard.data.manifest import DataSource
from tumorboard.errors import DataError, StorageError
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder
from tumorboard.workflows import datasets
from tumorboard.workflows.datasets import HANDLE, LICENCE, PAGE, fetch


@pytest.fixture
def kaggle(monkeypatch):
    """Stand in for kagglehub: what it shall do; nothing is asked of the net."""

    def behave(download):
        fake = types.SimpleNamespace(dataset_download=download)
        monkeypatch.setitem(sys.modules, "kagglehub", fake)

    return behave


def archive(root):
    def download(handle, *, output_dir, force_download):
        assert handle == HANDLE
        for split in ("train", "valid", "test"):
            folder = Path(output_dir, root, split, "normal")
            folder.mkdir(parents=True)
            (folder / "a.png").write_bytes(b"x")

    return download


@pytest.mark.parametrize("root", ["", "Data", "a/Data"])
def test_the_folder_is_as_train_takes_it_and_nothing_else_is_left(kaggle, tmp_path, root):
    kaggle(archive(root))
    out = fetch(tmp_path / "new" / "scans")
    assert sorted(path.name for path in out.iterdir()) == ["test", "train", "valid"]
    assert list((tmp_path / "new").iterdir()) == [out]


def failing(error):
    def download(handle, **_options):
        raise error

    return download


@pytest.mark.parametrize(
    "download",
    [
        failing(ConnectionError("no\nroute")),
        failing(RuntimeError("401 unauthenticated")),
        lambda *_, **__: None,
    ],
    ids=["offline", "no credentials", "another archive"],
)
def test_what_cannot_be_fetched_says_what_to_do_by_hand(kaggle, tmp_path, download):
    kaggle(download)
    with pytest.raises(DataError, match="unpack it") as caught:
        fetch(tmp_path / "scans")
    assert PAGE in str(caught.value)
    assert LICENCE in caught.value.details[-1]
    assert "\n" not in "".join(caught.value.details)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_to_be_full(kaggle, tmp_path):
    kaggle(failing(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(StorageError, match="no space left"):
        fetch(tmp_path / "scans")


def test_a_folder_in_use_is_left_alone(kaggle, tmp_path):
    kaggle(failing(AssertionError("asked")))
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="name another"):
        fetch(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_demo_draws_the_phantoms_and_trains_on_them_with_its_own_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[Any] = []

    def train(*args: Any, **options: Any) -> RunFolder:
        calls.append((args, options))
        return RunFolder(tmp_path / "run")

    monkeypatch.setattr(datasets.synthetic, "draw", lambda data: calls.append(data))
    monkeypatch.setattr(datasets, "train", train)
    console = Console()
    run = datasets.demo(tmp_path / "data", tmp_path / "run", console)
    drawn, (args, options) = calls
    assert drawn == tmp_path / "data"
    source = DataSource(tmp_path / "data", skip_bad=True)  # one file is damaged on purpose
    assert args == (source, tmp_path / "run", "demo")
    assert options == {"console": console}
    assert run.root == tmp_path / "run"
    assert "synthetic" in capsys.readouterr().err
