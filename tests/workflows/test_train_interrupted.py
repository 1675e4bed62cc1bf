"""Kills, signals, full disks and moved folders in a run: its end is that of a run left alone, bit for bit.

Every step is a process of its own; see tests/zygote.py.
"""

import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.small_runs import MODELS, RECIPE, bits, draw
from tests.zygote import UNSHARED, Step, run_steps, step

SEED = 20261122

Results = list[dict[str, Any]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    draw(root / "data")
    (root / "recipe.toml").write_text(RECIPE)
    return root


@pytest.fixture
def mounts(root: Path) -> None:
    command = [*UNSHARED, "mount", "-t", "tmpfs", "tmpfs", str(root)]
    if not shutil.which("unshare") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this machine lets no process mount a disk of its own")


def train(root: Path, run: str, **fault: Any) -> Step:
    return step(
        "train", root / "data", "--recipe", root / "recipe.toml", "--quiet", "--out", root / run, **fault
    )


def kills(draws: np.random.Generator) -> list[dict[str, Any]]:
    """One in each phase: the first model's epochs, its save, the features, the next model's epochs, test."""
    return [
        {"at": "batch", "n": int(draws.integers(2, 8))},
        {"at": "fsync", "n": int(draws.integers(8, 13))},
        {"at": "saved", "n": 1},
        {"at": "replace", "n": int(draws.integers(7, 15))},
        {"at": "predict", "n": int(draws.integers(4, 11))},
        {"at": "replaced", "n": int(draws.integers(14, 21))},
    ]


@pytest.fixture(scope="module")
def runs(root: Path) -> dict[str, Results]:
    """The uninterrupted run; one killed again and again; one stopped by a small disk and by signals."""
    points = kills(np.random.default_rng(SEED))
    sys.stdout.write(f"seed {SEED}, kills at {points}\n")
    plans = {
        "alone": [train(root, "alone")],
        "killed": [*(train(root, "killed", **point) for point in points), train(root, "killed")],
        "stopped": [
            train(root, "stopped", limit=30_000),  # not even the decoded images
            train(root, "stopped", limit=200_000),  # not the first state of training
            train(root, "stopped", at="batch", n=3, signals=(signal.SIGINT,)),
            train(root, "stopped", at="fsync", n=9, signals=(signal.SIGTERM, signal.SIGTERM)),
            train(root, "stopped", at="predict", n=30, signals=(signal.SIGTERM,)),
            train(root, "stopped"),
        ],
    }
    found = iter(run_steps(root, [one for plan in plans.values() for one in plan]))
    return {name: [next(found) for _ in plan] for name, plan in plans.items()}


def test_killed_anywhere_a_run_ends_as_if_it_had_not_been(root: Path, runs: dict[str, Results]) -> None:
    assert [one["code"] for one in runs["alone"]] == [0]
    assert [one["code"] for one in runs["killed"]] == [-signal.SIGKILL] * 6 + [0]
    assert bits(root / "killed") == bits(root / "alone")
    assert (root / "killed/metrics.json").read_text() == (root / "alone/metrics.json").read_text()


def test_stopped_by_signals_and_full_disks_a_run_ends_as_if_it_had_not_been(
    root: Path, runs: dict[str, Results]
) -> None:
    assert bits(root / "stopped") == bits(root / "alone")
    assert (root / "stopped/metrics.json").read_text() == (root / "alone/metrics.json").read_text()


def test_ctrl_c_ends_with_130_and_sigterm_with_143_and_one_line(runs: dict[str, Results]) -> None:
    results = runs["stopped"][2:]
    assert [one["code"] for one in results] == [130, 143, 143, 0]
    for one, name in zip(results, ("SIGINT", "SIGTERM", "SIGTERM"), strict=False):
        assert (
            one["err"]
            == f"tumorboard: stopped by {name}; repeat the same command to resume where it stopped\n"
        )
        assert one["out"] == ""


def test_first_signal_reaches_a_safe_point_and_the_second_does_not(runs: dict[str, Results]) -> None:
    _, _, first, second, _, _ = runs["stopped"]
    assert first["counts"]["batch"] == 3  # the batch in hand was the last
    assert second["counts"]["fsync"] == 9  # the write in hand was given up
    assert second["counts"].get("replaced", 0) < second["counts"]["fsync"]


def test_full_disk_is_one_line_with_the_file_and_the_space_left(runs: dict[str, Results]) -> None:
    for one, name in zip(runs["stopped"][:2], (".u8", "custom.npz"), strict=True):
        assert one["code"] == 8
        line, rest = one["err"].split("\n", 1)
        assert rest == ""
        assert name in line
        assert "MB free" in line
        assert len(line) <= 312


def test_nothing_half_written_is_left(root: Path, runs: dict[str, Results]) -> None:
    for name in runs:
        assert not list((root / name).rglob("*.writing*"))
        assert not (root / name / "cache").exists()


@pytest.mark.slow
def test_fifty_kills_at_random_points(root: Path, runs: dict[str, Results]) -> None:
    sys.stdout.write(f"seed {SEED}\n")
    draws, events = np.random.default_rng(SEED), runs["alone"][0]["counts"]["any"]
    plan = [
        train(root, f"chain{chain}", at="any", n=int(draws.integers(1, events // 5)))
        for chain in range(10)
        for _ in range(5)
    ]
    plan += [train(root, f"chain{chain}") for chain in range(10)]
    results = run_steps(root, plan)
    assert (
        sum(one["code"] == -signal.SIGKILL for one in results) >= 45
    )  # a point beyond the end kills nothing
    assert {one["code"] for one in results} == {-signal.SIGKILL, 0}
    for chain in range(10):
        assert bits(root / f"chain{chain}") == bits(root / "alone"), f"chain {chain}"
        require_finished_models_untouched([*results[5 * chain : 5 * chain + 5], results[50 + chain]])


def require_finished_models_untouched(results: Results) -> None:
    """Check that no step of a run wrote a model that an earlier step had finished."""
    for before, after in pairwise(results):
        assert before["models"].items() <= after["models"].items()
    assert len(results[-1]["models"]) == len(MODELS)


def require_one_line(result: dict[str, Any]) -> None:
    """Check that a step ended for a fault of the disk, which it says in one line."""
    assert result["code"] == 8, result["err"]
    assert result["out"] == ""
    assert len(result["err"].splitlines()) == 1, result["err"]
    assert "MB free" in result["err"]
    assert len(result["err"]) <= 312


@pytest.mark.usefixtures("mounts")
@pytest.mark.slow
def test_a_disk_that_fills_at_twenty_points(root: Path, runs: dict[str, Results]) -> None:
    disk = root / "disk"
    disk.mkdir()
    whole = sum(file.stat().st_size for file in (root / "alone").rglob("*") if file.is_file())
    sizes = [whole * number // 21 for number in range(1, 21)]  # none of which holds what a run leaves
    plan = [
        step(
            *("train", root / "data", "--recipe", root / "recipe.toml", "--quiet", "--out", disk / "filled"),
            before=[("mount", "-o", f"remount,size={size}", disk)],
        )
        for size in [*sizes, 100 * whole]
    ]
    plan[0]["before"].insert(0, ["mount", "-t", "tmpfs", "tmpfs", str(disk)])
    plan[-1]["after"].append(["cp", "-a", str(disk / "filled"), str(root)])
    *full, last = run_steps(root, plan, mounts=True)
    for result in full:
        require_one_line(result)
    assert (last["code"], last["err"]) == (0, "")
    require_finished_models_untouched([*full, last])
    assert bits(root / "filled") == bits(root / "alone")


@pytest.mark.usefixtures("mounts")
@pytest.mark.slow
def test_a_folder_of_models_that_cannot_be_written(root: Path, runs: dict[str, Results]) -> None:
    models = root / "readonly/models"
    mount = [("mount", "--bind", models, models), ("mount", "-o", "remount,bind,ro", models)]
    killed, refused, last = run_steps(
        root,
        [
            train(root, "readonly", at="saved", n=2),
            train(root, "readonly", before=mount, after=[("umount", models)]),
            train(root, "readonly"),
        ],
        mounts=True,
    )
    assert killed["code"] == -signal.SIGKILL
    require_one_line(refused)
    assert "models" in refused["err"]
    assert "make it writable" in refused["err"]
    assert last["code"] == 0
    require_finished_models_untouched([killed, refused, last])
    assert bits(root / "readonly") == bits(root / "alone")


@pytest.mark.slow
def test_a_run_that_is_moved_and_a_clock_that_is_set_back(root: Path, runs: dict[str, Results]) -> None:
    # Files from the future are what a clock leaves that is set back.
    later = [("find", root / "moved", "-exec", "touch", "-d", "next year", "{}", "+")]
    results = run_steps(
        root,
        [
            train(root, "first", at="saved", n=1),
            train(root, "moved", at="batch", n=2, before=[("mv", root / "first", root / "moved")]),
            train(root, "moved", at="predict", n=20, before=later),
            train(root, "moved", before=later),
        ],
    )
    assert [one["code"] for one in results] == [-signal.SIGKILL] * 3 + [0]
    assert results[0]["models"].items() <= results[1]["models"].items()
    assert bits(root / "moved") == bits(root / "alone")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_ten_of_each_signal(root: Path, runs: dict[str, Results], number: signal.Signals) -> None:
    draws, events = np.random.default_rng(SEED), runs["alone"][0]["counts"]["any"]
    run = f"signalled{number}"
    plan = [
        train(root, run, at="any", n=int(draws.integers(1, events // 12)), signals=(number,))
        for _ in range(10)
    ]
    *stopped, last = run_steps(root, [*plan, train(root, run)])
    assert {one["code"] for one in stopped} == {128 + number}
    assert last["code"] == 0
    assert bits(root / run) == bits(root / "alone")
