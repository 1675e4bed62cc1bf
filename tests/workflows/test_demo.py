from pathlib import Path
from typing import Any

import pytest

from tumorboard.data.manifest import DataSource
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
