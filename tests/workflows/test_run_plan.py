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
from tumorboard.workflows.run_plan import RESULTS, RunPlan, early_stopping, run_phases


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


def test_every_phase_of_a_run_has_a_share(tmp_path):
    recipe = config.load("demo")
    phases = run_phases(recipe)
    assert list(phases) == [
        "prepare",
        "audit",
        "loading Keras",
        *recipe.names,
        "calibration",
        "test",
        "leak meter",
        "report",
    ]
    assert phases.pop("loading Keras") > 0
    assert all(seconds > 0 for tasks in phases.values() for seconds in tasks.values())
    assert "ensemble: training" not in phases["ensemble"]  # a weighted average
    assert "chained: frozen layers of train" in phases["chained"]
    of_fold = run_phases(recipe, joint_graph=False)["report"]
    assert phases["report"].keys() - of_fold.keys() == {"joint graph"}


def test_training_may_end_early_where_the_recipe_has_patience():
    assert early_stopping(config.load("demo")) == set()
    assert early_stopping(config.load("notebook")) == {
        f"{name}: training" for name in ("pretrained", "custom", "ensemble", "chained")
    }


def test_a_head_in_closed_form_takes_no_epochs_of_the_plan() -> None:
    probe, default = config.load("probe"), config.load("default")
    tasks, epochs = (run_phases(recipe)["pretrained"] for recipe in (probe, default))
    assert 0 < tasks["pretrained: training"] < epochs["pretrained: training"] / 10
    assert early_stopping(probe) == set()
