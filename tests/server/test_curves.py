import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from tumorboard.run_folder import HISTORY_COLUMNS, RunFolder
from tumorboard.server.curves import learning_curves

ROWS = [[1.0, 0.9, 0.5, 1.1, 0.4], [2.0, 0.7, 0.6, 0.8, 0.5]]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def write_history(run: RunFolder, name: str, rows: list = ROWS, age: float = 100.0) -> None:
    file = run.history(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([",".join(HISTORY_COLUMNS), *(",".join(map(str, row)) for row in rows)]))
    os.utime(file, (time.time() - age,) * 2)


def write_checkpoint(run: RunFolder, name: str, rows: list = ROWS, **arrays: np.ndarray) -> None:
    """As `training.checkpoint.Checkpoint` does, which a test of the fit compares."""
    history = [dict(zip(HISTORY_COLUMNS, row, strict=True)) for row in rows]
    run.state(name).parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"history": history, "stopped": False, "early": {}})
    np.savez(run.state(name), progress=np.array(content), variable0=np.zeros(9), **arrays)


def test_finished_models_come_first_and_then_the_one_in_training(run: RunFolder) -> None:
    write_history(run, "pretrained")
    write_checkpoint(run, "custom", ROWS[:1])
    curves = learning_curves(run)
    assert [(c["model"], c["part"], c["in_training"]) for c in curves] == [
        ("pretrained", "", False),
        ("custom", "", True),
    ]
    assert curves[0]["rows"] == ROWS
    assert curves[1]["rows"] == ROWS[:1]


def test_of_several_runs_the_latest_is_shown(run: RunFolder) -> None:
    write_history(RunFolder(run.root / "folds" / "fold-1"), "pretrained", age=300)
    write_history(RunFolder(run.root / "folds" / "fold-2"), "pretrained", age=200)
    assert [(c["model"], c["part"]) for c in learning_curves(run)] == [("pretrained", "folds/fold-2")]


def test_long_curves_are_thinned_and_keep_their_last_epoch(run: RunFolder) -> None:
    write_history(run, "custom", [[epoch, 0.5, 0.5, 0.5, 0.5] for epoch in range(1, 1002)])
    rows = learning_curves(run)[0]["rows"]
    assert len(rows) <= 200
    assert rows[-1][0] == 1001


@pytest.mark.parametrize("cell", ["", "nan", "inf", "x", "1e999", "\0"])
def test_a_damaged_table_counts_as_none(run: RunFolder, cell: str) -> None:
    write_history(run, "custom", [*ROWS, [3, cell, 0.5, 0.5, 0.5]])
    assert learning_curves(run) == []


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"\0" * 100, os.urandom(1000)])
def test_a_damaged_checkpoint_counts_as_none(run: RunFolder, content: bytes) -> None:
    write_history(run, "pretrained")
    run.state("custom").parent.mkdir(parents=True)
    run.state("custom").write_bytes(content)
    assert [c["model"] for c in learning_curves(run)] == ["pretrained"]


def test_every_cut_of_a_checkpoint_counts_as_none_or_is_read(run: RunFolder) -> None:
    write_checkpoint(run, "custom")
    whole = run.state("custom").read_bytes()
    for end in range(0, len(whole), 7):
        run.state("custom").write_bytes(whole[:end])
        assert learning_curves(run) in ([],)


def test_links_that_lead_out_and_pipes_are_not_read(run: RunFolder, tmp_path: Path) -> None:
    outside = RunFolder(tmp_path / "outside")
    write_history(outside, "custom")
    run.history("custom").parent.mkdir(parents=True)
    run.history("custom").symlink_to(outside.history("custom"))
    (run.root / "seed-1").symlink_to(outside.root)
    os.mkfifo(run.history("pipe"))
    assert learning_curves(run) == []


def test_a_run_that_has_not_begun_has_none(run: RunFolder) -> None:
    assert learning_curves(run) == []
