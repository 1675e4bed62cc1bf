from pathlib import Path
from typing import Any

import pytest

from tumorboard import config
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder
from tumorboard.workflows import datasets


def test_demo_draws_the_phantoms_and_trains_on_them_with_its_own_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[Any] = []

    def train(*args: Any, **options: Any) -> RunFolder:
        calls.append((args, options))
        return RunFolder(tmp_path / "run")

    monkeypatch.setattr(datasets.phantoms, "draw", lambda data: calls.append(data))
    monkeypatch.setattr(datasets, "train", train)
    console = Console()
    run = datasets.demo(tmp_path / "data", tmp_path / "run", console)
    drawn, (args, options) = calls
    assert drawn == tmp_path / "data"
    assert args == (tmp_path / "data", tmp_path / "run", config.load("demo"))
    assert options == {"skip_bad": True, "console": console}  # one file is damaged on purpose
    assert run.root == tmp_path / "run"
    assert "synthetic" in capsys.readouterr().err
