"""Time `tumorboard predict` of one file from cold: with the run's joint graph, and with Keras.

    python benchmarks/cold.py RUN FILE [--rounds 5]

Each call is a new process. The rounds alternate and the fastest counts, so that other work on the machine has
less effect; processor seconds hardly depend on it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tumorboard.workflows.predictor import ENGINES


def main() -> None:
    """Print seconds, processor seconds and peak memory of each, and the ratio of the seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    best = {engine: (float("inf"),) * 3 for engine in ENGINES}
    for _ in range(options.rounds):
        for engine in ENGINES:
            taken = _predict(options.run, options.file, engine)
            best[engine] = tuple(map(min, best[engine], taken))
    for engine, (seconds, processor, memory) in best.items():
        print(f"{engine}: {seconds:.1f} s ({processor:.1f} s of processor time), {memory:.0f} MB at most")
    onnx, keras = (best[engine][0] for engine in ENGINES)
    print(f"{keras / onnx:.1f} times faster with the joint graph")


def _predict(run: Path, file: Path, engine: str) -> tuple[float, float, float]:
    """Seconds, processor seconds and peak memory in MB of one command."""
    with tempfile.TemporaryDirectory() as folder:
        options = ("--engine", engine, "--out", f"{folder}/out.csv", "--quiet")
        command = [sys.executable, "-m", "tumorboard", "predict", run, file, *options]
        begun = time.perf_counter()
        process = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True)
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or (engine == "onnx" and "with Keras" in output):
        sys.exit(f"predict --engine {engine} ended with {process.returncode}: {output}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
