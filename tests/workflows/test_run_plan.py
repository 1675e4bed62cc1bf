from pathlib import Path

import pytest

from tests.small_runs import RECIPE, deepen, draw
from tumorboard import config
from tumorboard.data import image_cache
from tumorboard.data.manifest import DataSource
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder
from tumorboard.training import fit
from tumorboard.workflows import build_models, run_plan
from tumorboard.workflows.run_plan import RESULTS, RunPlan


def test_a_stage_in_another_process_reads_grey_with_the_depth_that_the_run_recorded(tmp_path, monkeypatch):
    data = draw(tmp_path / "data", splits=("train",))
    deepen(data, 16)
    plan = RunPlan(DataSource(data), tmp_path / "run", config.parse(RECIPE, "small"))
    plan.begin(Console(quiet=True))
    trained = []
    monkeypatch.setattr(build_models, "train_model", lambda context, name: trained.append(context))
    monkeypatch.setattr(fit, "prepare_backend", lambda *_: None)
    monkeypatch.setattr(image_cache, "read_image", lambda *_: pytest.fail("read again"))
    plan.run_stage("custom")
    assert trained[0].recipe == config.load(str(RunFolder(plan.out).recipe))
    assert trained[0].recipe.image.depth == 12


@pytest.mark.parametrize("stage", [RESULTS, "custom"])
def test_a_worker_frees_the_graphs_after_every_stage(stage, tmp_path, monkeypatch):
    carried_out = []
    monkeypatch.setattr(RunPlan, "_run_all_stages", lambda *_: carried_out.append(RESULTS))
    monkeypatch.setattr(RunPlan, "_train_model", lambda plan, run, name: carried_out.append(name))
    monkeypatch.setattr(run_plan, "_clear_graphs", lambda: carried_out.append("cleared"))
    RunPlan(DataSource(Path("data")), tmp_path / "run", config.load("demo")).run_stage(stage)
    assert carried_out == [stage, "cleared"]
