"""A repeated study on a Ray of this machine is, bit for bit, the one of a single process."""

import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest

from tests import processes
from tests.small_runs import MODELS, RECIPE, add_tiny_backbone, bits, draw
from tumorboard.cli.main import main
from tumorboard.distributed import ray_cluster
from tumorboard.distributed.train import when_free
from tumorboard.models.backbones import BACKBONES
from tumorboard.run_folder import FolderInUse, RunFolder
from tumorboard.run_state import read_state

ray = pytest.importorskip("ray", reason="the extra cluster is not installed")
RUNS = ("folds/fold-1", "folds/fold-2", "seed-3", "seed-4")
ROOT = Path(__file__).parents[2]
SEED, KILLS = 20261128, 3
ON_RAY = """
import sys
from tests.distributed.test_training import machine
from tests.small_runs import add_tiny_backbone
from tumorboard.cli.main import main

if __name__ == "__main__":
    add_tiny_backbone()
    machine(2)
    sys.exit(main(sys.argv[1:]))
"""
PATHS = os.pathsep.join(map(str, (ROOT / "src", ROOT)))
HOOK = {"worker_process_setup_hook": add_tiny_backbone, "env_vars": {"PYTHONPATH": PATHS}}

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
    """Start Ray; it gives its processes 30 seconds, which on a busy machine may take more than one try."""
    settings = {**ray_cluster.local_settings(), "num_cpus": cpus, "log_to_driver": False, "runtime_env": HOOK}
    settings["_system_config"] = {"worker_niceness": 0}  # with Ray's 15 whatever else runs here starves them
    for _ in range(2):
        try:
            return ray.init(**settings)
        except Exception:
            ray.shutdown()
    return ray.init(**settings)


def test_runs_on_ray_are_those_of_one_process_and_are_not_done_again(root):
    assert train_alone(root, "plain", "--seeds", "2") == 0
    with machine(2):
        assert train(root, "scattered", "--seeds", "2", "--ray", "local") == 0
        models = sorted((root / "scattered").rglob("*.keras"))
        before = [file.stat().st_mtime_ns for file in models]
        assert train(root, "scattered", "--seeds", "2", "--ray", "local") == 0
        assert [file.stat().st_mtime_ns for file in models] == before
        assert train(root, "alone", "--ray", "local") == 0
    progress = read_state(RunFolder(root / "alone")).progress
    assert (progress["fraction"], progress["error"]) == (1.0, "")
    assert all(phase["ended"] for phase in progress["phases"])
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


@pytest.mark.slow
def test_killed_at_random_moments_a_run_on_ray_ends_as_if_it_had_not_been(root):
    sys.stdout.write(f"seed {SEED}\n")
    assert train_alone(root, "plain") == 0
    run, models, moments = root / "killed", {}, random.Random(SEED)  # noqa: S311
    half = len(_states(root / "plain")) // 2
    process = _start(root, run)
    _kill_a_worker(process)
    for _ in range(KILLS):
        _wait_for_files(process, run, moments.randint(1, half))
        family = processes.below(process.pid)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert processes.all_end(family)  # Ray's, and with them whatever trained
        assert models.items() <= _finished(run).items()
        models = _finished(run)
        process = _start(root, run)
    assert process.wait() == 0
    assert models.items() <= _finished(run).items()
    assert bits(run) == bits(root / "plain")


def _start(root, run):
    """Train in a process of its own."""
    files = ["--out", str(run), "--recipe", str(root / "recipe.toml"), "--quiet", "--ray", "local"]
    return subprocess.Popen([sys.executable, "-c", ON_RAY, "train", str(root / "data"), *files], cwd=ROOT)


def _wait_for_files(process, run, count):
    """Wait until so many files of the run have been written, or written again."""
    before, seen = _states(run), set()
    while len(seen) < count:
        assert process.poll() is None
        time.sleep(0.01)
        seen |= _states(run) - before


def _states(run):
    """Return the files of a run, each with the moment when it was written."""
    found = set()
    for folder, _, names in os.walk(run):
        for name in names:
            with contextlib.suppress(OSError):  # renamed meanwhile
                found.add((Path(folder, name), Path(folder, name).stat().st_mtime_ns))
    return found


def _finished(run):
    models = run.glob("models/[!.]*.keras")
    return {file: file.stat().st_mtime_ns for file in models if file.with_suffix(".json").exists()}


def _kill_a_worker(process):
    """Kill whichever process of Ray carries out a stage of the run."""
    while True:
        assert process.poll() is None
        for child in processes.below(process.pid):
            with contextlib.suppress(OSError):
                if b"_run_stage" in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(child, signal.SIGKILL)
                    return
        time.sleep(0.01)


def test_a_folder_is_waited_for_but_not_for_ever():
    answers = iter([FolderInUse("in use"), None])

    def work():
        if error := next(answers):
            raise error

    when_free(work, patience=5)
    with pytest.raises(FolderInUse):
        when_free(lambda: (_ for _ in ()).throw(FolderInUse("in use")), patience=-1)
