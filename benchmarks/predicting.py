"""`tumorboard predict` on many files against plain decoding and `model.predict`, and its peak memory.

    python benchmarks/predicting.py RUN DATA [--few 1000] [--many 10000]

The images of DATA stand under other names in a temporary folder, over and over. The rate of `predict` is that
of the files by which the second folder is larger, so that loading models does not count. Both sides ask all
models of the run, one side after the other; the plain one in batches of 32, without hashes, flags and rows.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the package does, if it is imported before Keras

import numpy as np
from PIL import Image

from tumorboard.workflows.predictor import RunPredictor, load_run


def main() -> None:
    """Print both rates and both peaks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--few", type=int, default=1000)
    parser.add_argument("--many", type=int, default=10000)
    parser.add_argument("--plain", type=int, default=256, help="images that the plain way is timed on")
    options = parser.parse_args()
    files = sorted(path for path in options.data.rglob("*") if path.suffix in (".png", ".jpg"))
    few, few_peak = _predict(options.run, files, options.few)
    many, many_peak = _predict(options.run, files, options.many)
    ours = (options.many - options.few) / (many - few)
    plain = _plain(load_run(options.run), (files * options.plain)[: options.plain])
    print(f"tumorboard predict: {ours:.1f} images/s, plain: {plain:.1f}, ratio {ours / plain:.2f}")
    print(f"peak memory: {few_peak} MB at {options.few} files, {many_peak} MB at {options.many}")


def _predict(run: Path, files: list[Path], count: int) -> tuple[float, int]:
    """Seconds and peak memory in MB of the command on so many files."""
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        images.mkdir()
        for number in range(count):
            file = files[number % len(files)]
            _place(file, images / f"{number:06d}{file.suffix}")
        command = [sys.executable, "-m", "tumorboard", "predict", run, images, "--out", f"{folder}/out.csv"]
        begun = time.perf_counter()
        process = subprocess.Popen([*map(str, command), "--quiet"], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"predict ended with exit code {process.returncode}")
        return time.perf_counter() - begun, usage.ru_maxrss // 1024


def _place(file: Path, name: Path) -> None:
    try:
        os.link(file, name)
    except OSError:  # another disk
        shutil.copyfile(file, name)


def _plain(predictor: RunPredictor, files: list[Path]) -> float:
    """Images a second of the loop that anybody would write."""
    _ask(predictor, files[:32])  # builds the graphs
    begun = time.perf_counter()
    for start in range(0, len(files), 32):
        _ask(predictor, files[start : start + 32])
    return len(files) / (time.perf_counter() - begun)


def _ask(predictor: RunPredictor, files: list[Path]) -> None:
    size = (predictor.image.size, predictor.image.size)
    batch = np.stack([np.asarray(Image.open(file).convert("RGB").resize(size)) for file in files])
    for model in predictor.models.values():
        model.predict(batch, verbose=0)


if __name__ == "__main__":
    main()
