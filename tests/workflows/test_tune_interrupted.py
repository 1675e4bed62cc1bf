"""Kills and signals at random points of a study: its end is that of one left alone, bit for bit."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.small_runs import RECIPE, draw
from tests.workflows.test_tune import SEARCH, kept
from tests.zygote import step

SEED = 20261126
ROOT = Path(__file__).parents[2]


def carried_out(root, plan):
    files = root / "plan.json", root / "report.json"
    files[0].write_text(json.dumps(plan))
    command = [sys.executable, "-m", "tests.zygote", *map(str, files)]
    subprocess.run(command, check=True, cwd=ROOT, timeout=1200, capture_output=True)
    return json.loads(files[1].read_text())


@pytest.mark.slow
def test_killed_anywhere_a_study_ends_as_if_it_had_not_been(tmp_path):
    draw(tmp_path / "data")
    (tmp_path / "recipe.toml").write_text(RECIPE + SEARCH)

    def tune(study, **fault):
        where = (tmp_path / "data", "--out", tmp_path / study / "study", "--recipe", tmp_path / "recipe.toml")
        return step("tune", *where, "--trials", 3, "--folds", 2, "--model", "custom", "--quiet", **fault)

    (alone,) = carried_out(tmp_path, [tune("alone")])
    assert alone["code"] == 0
    sys.stdout.write(f"seed {SEED}\n")
    draws, events = np.random.default_rng(SEED), alone["counts"]["any"]
    points = [int(draws.integers(1, events // 3)) for _ in range(5)]
    plan = [tune("killed", at="any", n=n) for n in points]
    plan += [tune("killed", at="any", n=events // 10, signals=(number,)) for number in (2, 15)]
    results = carried_out(tmp_path, [*plan, tune("killed")])
    assert [one["code"] for one in results] == [-signal.SIGKILL] * 5 + [130, 143, 0]
    assert kept(tmp_path / "killed/study") == kept(tmp_path / "alone/study")
    assert not list((tmp_path / "killed").rglob("*.writing*"))
