"""A repeated study on a Ray of this machine is, bit for bit, the one of a single process."""

import contextlib
import io
import json
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest

from tests.small_runs import MODELS, RECIPE, add_tiny_backbone, bits, draw
from tumorboard.cli.main import main
from tumorboard.distributed import ray_cluster
from tumorboard.distributed.train import when_free
from tumorboard.models.backbones import BACKBONES
from tumorboard.run_folder import FolderInUse, RunFolder

ray = pytest.importorskip("ray", reason="the extra cluster is not installed")
RUNS = ("folds/fold-1", "folds/fold-2", "seed-3", "seed-4")
ROOT = Path(__file__).parents[2]
HOOK = {"worker_process_setup_hook": add_tiny_backbone, "env_vars": {"PYTHONPATH": str(ROOT)}}

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


def train(root, name, *flags):
    command = ["train", str(root / "data"), "--out", str(root / name), "--recipe", str(root / "recipe.toml")]
    with contextlib.redirect_stdout(io.StringIO()):
        return main([*command, "--quiet", *flags])


def train_alone(root, name, *flags):
    """In a process that has run nothing yet: threads cannot be pinned in another."""
    command = ["train", str(root / "data"), "--out", str(root / name), "--recipe", str(root / "recipe.toml")]
    code = (
        "import sys; from tests.small_runs import add_tiny_backbone; from tumorboard.cli.main import main; "
    )
    code += "add_tiny_backbone(); sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", code, *command, "--quiet", *flags], cwd=ROOT, timeout=600)
    return done.returncode


def study(root):
    draw(root / "data")
    (root / "recipe.toml").write_text(RECIPE.replace("seed = 3", "seed = 3\nthreads = 1"))
    add_tiny_backbone()
    return root


@pytest.fixture
def root(tmp_path):
    yield study(tmp_path)
    BACKBONES.pop("tiny")


def machine(cpus):
    return ray.init(
        **ray_cluster.local_settings(),
        num_cpus=cpus,
        log_to_driver=False,
        runtime_env=HOOK,
    )


def test_runs_on_ray_are_those_of_one_process_and_are_not_done_again(root):
    assert train_alone(root, "plain", "--seeds", "2") == 0
    with machine(2):
        assert train(root, "scattered", "--seeds", "2", "--ray", "local") == 0
        models = sorted((root / "scattered").rglob("*.keras"))
        before = [file.stat().st_mtime_ns for file in models]
        assert train(root, "scattered", "--seeds", "2", "--ray", "local") == 0
        assert [file.stat().st_mtime_ns for file in models] == before
        assert train(root, "alone", "--ray", "local") == 0
    alone, plain = bits(root / "alone"), bits(root / "plain" / "seed-3")  # whose ids differ
    assert [alone[model] for model in MODELS] == [plain[model] for model in MODELS]
    assert not any((root / one / "cache").exists() for one in ("alone", "scattered/data", "scattered/seed-3"))
    for run in ("seed-3", "seed-4"):
        assert bits(root / "scattered" / run) == bits(root / "plain" / run)
        environment = json.loads(RunFolder(root / "scattered" / run).environment.read_text())
        assert environment["threads"] == 1
        assert "default_worker" not in environment["command"]


@pytest.mark.slow
def test_a_lost_machine_costs_no_bit_and_nothing_finished_is_done_again(root):
    from ray.cluster_utils import Cluster

    assert train_alone(root, "plain", "--seeds", "2", "--folds", "2") == 0
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    lost, seen = cluster.add_node(num_cpus=1), {}
    ray.init(address=cluster.address, log_to_driver=False, runtime_env=HOOK)
    try:
        killer = Thread(target=_kill, args=(cluster, lost, root / "scattered", seen), daemon=True)
        killer.start()
        assert train(root, "scattered", "--seeds", "2", "--folds", "2", "--ray", cluster.address) == 0
        killer.join(timeout=5)
    finally:
        ray.shutdown()
        cluster.shutdown()
    for run in RUNS:
        assert bits(root / "scattered" / run) == bits(root / "plain" / run)
    assert len(seen["moved"]) == 1  # the task was taken from one process and given to another
    assert {file: file.stat().st_mtime_ns for file in seen["models"]} == seen["models"]


def _kill(cluster, node, out, seen):
    """Once two models are finished and both machines make others, take one away and see who goes on."""
    made, before = {}, {}
    while len(made) < 2 or len(before) < 2:
        time.sleep(0.02)
        made = {file: file.stat().st_mtime_ns for file in out.rglob("models/[!.]*.keras")}
        before = _holders(out)
    cluster.remove_node(node, allow_graceful=False)
    seen["models"] = made
    while not seen.get("moved"):
        now = _holders(out)
        seen["moved"] = [piece for piece in before.keys() & now.keys() if now[piece] != before[piece]]
        time.sleep(0.02)


def _holders(out):
    """By the note of each model that is being trained, the process that trains it."""
    found = {}
    for note in out.rglob(".holder-*.json"):
        if (note.parent / "models" / f"{note.stem.removeprefix('.holder-')}.keras").exists():
            continue  # it is predicting by now
        with contextlib.suppress(OSError, ValueError):
            found[note] = json.loads(note.read_text())["pid"]
    return found


def test_a_folder_is_waited_for_but_not_for_ever():
    answers = iter([FolderInUse("in use"), None])

    def work():
        if error := next(answers):
            raise error

    when_free(work, patience=5)
    with pytest.raises(FolderInUse):
        when_free(lambda: (_ for _ in ()).throw(FolderInUse("in use")), patience=-1)
