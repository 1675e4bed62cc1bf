"""Cross-validate real images on two nodes, one of which is killed, and compare with one process.

    python benchmarks/lost_node.py DATA [--images 12] [--epochs 0.2]

`train --folds 2 --seeds 2` on a few images of each class of DATA, with the demo's networks and one
thread per task: once in one process, once on two nodes of Ray's cluster utility. When two models
are finished and both nodes train others, one node is killed. Every file must then be equal to that
of the single process, bit for bit, and no finished model may have been made again; otherwise the
exit code is 1. The log of the command is printed.
"""

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import small_jobs

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.small_runs import bits

from tumorboard.data import manifest

_FLAGS = ("--folds", "2", "--seeds", "2")
_RUNS = ("folds/fold-1", "folds/fold-2", "seed-0", "seed-1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument(
        "--images", type=int, default=12, help="of each class to train on, half in valid and test"
    )
    parser.add_argument("--epochs", type=float, default=0.2, help="a share of the demo's")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = small_jobs.recipe(folder, options.epochs)
        few = reduced(options.data, folder / "data", options.images)
        alone = small_jobs.train(few, folder / "alone", settings, *_FLAGS)
        print(f"one process: {alone.seconds:.0f} s", flush=True)
        words = ["train", few, "--out", folder / "spread", "--recipe", settings, "--skip-bad", *_FLAGS]
        before = on_two_nodes([str(word) for word in words], folder / "spread")
        same = [run for run in _RUNS if bits(folder / "spread" / run) == bits(folder / "alone" / run)]
        kept = [file for file, changed in before.items() if file.stat().st_mtime_ns == changed]
    print(f"{len(same)} of {len(_RUNS)} runs are those of one process, bit for bit")
    print(f"{len(before)} models were finished at the kill, {len(before) - len(kept)} of them made again")
    sys.exit(len(same) < len(_RUNS) or len(kept) < len(before))


def reduced(data: Path, folder: Path, images: int) -> Path:
    """Copy the first images of every class in every split."""
    count: dict[tuple[str, str], int] = {}
    for sample in manifest.load(data).manifest.samples:
        place = (sample.split, sample.label)
        count[place] = count.get(place, 0) + 1
        if count[place] <= (images if sample.split == "train" else images // 2):
            target = folder / sample.split / sample.label / sample.path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(sample.path, target)
    return folder


def on_two_nodes(words: list[str], out: Path) -> dict[Path, int]:
    """Run the command and kill a node; return when each model that was finished then had been written."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    lost = cluster.add_node(num_cpus=1)
    try:
        begun = time.monotonic()
        command = subprocess.Popen([sys.executable, "-c", small_jobs.CODE, *words, "--ray", cluster.address])
        made: dict[Path, int] = {}
        while command.poll() is None and (len(made) < 2 or len(being_made(out)) < 2):
            time.sleep(0.02)
            made = {file: file.stat().st_mtime_ns for file in out.rglob("models/[!.]*.keras")}
        if command.poll() is not None:
            sys.exit("the command ended before a node could be killed; ask for more --epochs")
        print(f"killed a node while these were made: {', '.join(being_made(out))}", flush=True)
        cluster.remove_node(lost, allow_graceful=False)
        if command.wait():
            sys.exit(f"the command ended with exit code {command.returncode}")
        print(f"two nodes, one of them lost: {time.monotonic() - begun:.0f} s")
        return made
    finally:
        cluster.shutdown()


def being_made(out: Path) -> list[str]:
    """Return the models that are being trained, with the ids of the processes."""
    found = []
    for note in sorted(out.rglob(".holder-*.json")):
        model = note.stem.removeprefix(".holder-")
        if (note.parent / "models" / f"{model}.keras").exists():
            continue  # it is predicting by now
        with contextlib.suppress(OSError, ValueError):
            found.append(f"{note.parent.name} {model} ({json.loads(note.read_text())['pid']})")
    return found


if __name__ == "__main__":
    main()
