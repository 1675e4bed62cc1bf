from pathlib import Path
from typing import Any

import pytest

from tests.data.pictures import plant
from tumorboard.cli.main import main
from tumorboard.run_folder import RunFolder


@pytest.mark.parametrize(
    ("flags", "data", "out"),
    [([], "demo-data", "demo-run"), (["--data", "images", "--out", "there"], "images", "there")],
    ids=["by default", "as told"],
)
def test_demo_draws_and_runs_where_it_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    data: str,
    out: str,
) -> None:
    done = RunFolder(plant(tmp_path / "done", {"summary.txt": b"Results", "metrics.json": b"{}"}))
    calls: list[Any] = []

    def demo(*args: Any) -> RunFolder:
        calls.append(args[:2])
        return done

    monkeypatch.setattr("tumorboard.workflows.datasets.demo", demo)
    assert main(["demo", *flags]) == 0
    assert calls == [(Path(data), Path(out))]
    assert capsys.readouterr().out.endswith(f"Results: {done.results}\n")
