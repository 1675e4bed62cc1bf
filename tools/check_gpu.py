"""Run the demo, and a data set, on a GPU with PyTorch and JAX; print the time per phase and the utilisation.

    python tools/check_gpu.py [--data FOLDER] [--out gpu-check] [--backends torch jax] [--recipe default]

Needs Tumorboard and its dependencies without TensorFlow, and PyTorch or JAX with CUDA, in this environment.
A backend that is not installed is reported and left out. Utilisation and memory are read from nvidia-smi
once per second; without it, or without a GPU, the script runs on the CPU and says so. Every run is a
process of its own. OUT must be new: the times of a resumed run would say nothing. The results are in
OUT/check.json too.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"
QUERY = ("nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits")
DEVICES = {
    "torch": "import torch; print(*[torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]"
    " or ['cpu'], sep=', ')",
    "jax": "import jax; print(*[device.device_kind for device in jax.devices()], sep=', ')",
    "tensorflow": "import tensorflow as tf; print(*[d.name for d in tf.config.list_physical_devices('GPU')]"
    " or ['cpu'], sep=', ')",
}


@dataclass
class Check:
    """One run: wall seconds, those of each phase, test accuracy by model, and samples of nvidia-smi."""

    backend: str
    title: str
    device: str
    exit_code: int
    seconds: float
    phases: dict[str, float]
    accuracy: dict[str, float]
    utilisation: list[float]
    megabytes: list[float]


def main() -> int:
    """Run everything; 1 if a run has failed, or if there was none."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="class folders or a manifest, beside the demo")
    parser.add_argument("--out", type=Path, default=Path("gpu-check"))
    parser.add_argument("--backends", nargs="+", choices=list(DEVICES), default=["torch", "jax"])
    parser.add_argument("--recipe", default="default", help="for --data")
    options = parser.parse_args()
    try:
        options.out.mkdir(parents=True)
    except FileExistsError:
        parser.error(f"expected a new folder as --out, found {options.out}; delete it or choose another")
    checks = []
    for backend in options.backends:
        if importlib.util.find_spec(backend) is None:
            print(f"{backend}: not installed, left out", flush=True)
            continue
        for title, command in commands(options, backend).items():
            checks.append(check(backend, title, command, options.out / f"{title}-{backend}"))
            print("\n".join(lines(checks[-1])), flush=True)
    content = json.dumps([asdict(entry) for entry in checks], indent=2)
    (options.out / "check.json").write_text(content + "\n", encoding="utf-8")
    return int(not checks or any(entry.exit_code for entry in checks))


def commands(options: argparse.Namespace, backend: str) -> dict[str, list[str]]:
    """Return the arguments of `tumorboard` by title, without --out."""
    arguments = {"demo": ["demo", "--data", str(options.out / "demo-data")]}
    if options.data:
        arguments["data"] = ["train", str(options.data), "--recipe", options.recipe]
    return arguments


def check(backend: str, title: str, command: Sequence[str], run: Path) -> Check:
    """Carry out one run and read what it recorded; its output is in a file beside it."""
    path = os.pathsep.join([str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])])
    # JAX would take three quarters of the memory at once, which would say nothing about the need.
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": path,
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    asked = subprocess.run(
        [sys.executable, "-c", DEVICES[backend]], env=environment, capture_output=True, text=True
    )
    device = asked.stdout.strip() or "not known: " + (asked.stderr.strip().splitlines() or [""])[-1][:120]
    samples: list[tuple[float, float]] = []
    done = threading.Event()
    sampler = threading.Thread(target=sample, args=(samples, done), daemon=True)
    begun = time.monotonic()
    with run.with_suffix(".log").open("w", encoding="utf-8") as log:
        sampler.start()
        arguments = [sys.executable, "-m", "tumorboard", *command, "--out", str(run)]
        code = subprocess.run(arguments, env=environment, stdout=log, stderr=subprocess.STDOUT).returncode
        done.set()
    seconds = time.monotonic() - begun
    sampler.join(timeout=10)
    phases = read(run / "state" / "phases.json")
    metrics = read(run / "metrics.json").get("models", {})
    accuracy = {name: model["splits"]["test"]["accuracy"]["value"] for name, model in metrics.items()}
    used, megabytes = [first for first, _ in samples], [second for _, second in samples]
    return Check(backend, title, device, code, round(seconds, 1), phases, accuracy, used, megabytes)


def sample(samples: list[tuple[float, float]], done: threading.Event) -> None:
    """Append the utilisation in percent and the megabytes in use of all GPUs, once per second."""
    if shutil.which(QUERY[0]) is None:
        return
    while not done.wait(1.0):
        answer = subprocess.run(QUERY, capture_output=True, text=True)
        rows = [row.split(",") for row in answer.stdout.strip().splitlines()]
        if answer.returncode or not rows:
            return
        with contextlib.suppress(ValueError):  # "[N/A]": some drivers, or a GPU in parts, report nothing
            samples.append((max(float(row[0]) for row in rows), sum(float(row[1]) for row in rows)))


def read(path: Path) -> dict:
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def lines(entry: Check) -> list[str]:
    """Return what is printed about a run."""
    head = f"{entry.backend}, {entry.title}, on {entry.device}: {entry.seconds:.0f} s"
    if entry.exit_code:
        return [f"{head}; FAILED with exit code {entry.exit_code}, see {entry.title}-{entry.backend}.log"]
    phases = ", ".join(f"{name} {seconds:.1f}" for name, seconds in entry.phases.items())
    scores = ", ".join(f"{name} {value:.3f}" for name, value in entry.accuracy.items())
    use = "utilisation not measured: no nvidia-smi, or no GPU that reports it"
    if entry.utilisation:
        mean = sum(entry.utilisation) / len(entry.utilisation)
        use = f"utilisation mean {mean:.0f}%, most {max(entry.utilisation):.0f}%"
        use += f"; memory at most {max(entry.megabytes) / 1000:.1f} GB (n = {len(entry.utilisation)} samples)"
    return [head, f"  seconds: {phases}", f"  {use}", f"  test accuracy: {scores}"]


if __name__ == "__main__":
    sys.exit(main())
