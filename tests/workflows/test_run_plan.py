from pathlib import Path

import pytest

from tumorboard import config
from tumorboard.data.manifest import DataSource
from tumorboard.workflows import run_plan
from tumorboard.workflows.run_plan import RESULTS, RunPlan


@pytest.mark.parametrize("stage", [RESULTS, "custom"])
def test_a_worker_frees_the_graphs_after_every_stage(stage, tmp_path, monkeypatch):
    carried_out = []
    monkeypatch.setattr(RunPlan, "_run_all_stages", lambda *_: carried_out.append(RESULTS))
    monkeypatch.setattr(RunPlan, "_train_model", lambda plan, run, name: carried_out.append(name))
    monkeypatch.setattr(run_plan, "_clear_graphs", lambda: carried_out.append("cleared"))
    RunPlan(DataSource(Path("data")), tmp_path / "run", config.load("demo")).run_stage(stage)
    assert carried_out == [stage, "cleared"]
