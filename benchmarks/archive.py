"""Predict an archive of N synthetic images with `predict --ray local`, killed and repeated.

    python benchmarks/archive.py [--many 50000] [--few 5000] [--run RUN] [--page docs/scaling.md]

For each of the two numbers: images of 64x64 in folders of a thousand; `kill -9` when half of the
parts exist; the same command again. Every image must then have one row, the parts that existed must
not have been written again, and memory must not have grown with the number of images. Otherwise the
exit code is 1.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from pyarrow import parquet

import small_jobs
from tumorboard.workflows.cluster_predict import FILES_PER_PART as PART

_FOLDER = 1000
_PATIENCE = 120  # seconds until a killed command's processes must be gone
_FLAT = 1.1  # times the memory of the smaller archive


@dataclass(frozen=True)
class Found:
    """The result for one archive."""

    images: int
    rows: int
    different: int
    kept: int
    written_again: int
    seconds: float
    memory: float
    actor: float

    @property
    def whole(self) -> bool:
        """Return whether every image has one row and no part was made twice."""
        return self.rows == self.different == self.images and self.kept > 0 and not self.written_again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--many", type=int, default=50_000)
    parser.add_argument("--few", type=int, default=5_000)
    parser.add_argument("--run", type=Path, help="a finished run; by default a small one is made")
    parser.add_argument("--model", default="custom")
    parser.add_argument("--page", type=Path, help="where the table is written, between its markers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = options.run or small_jobs.small_run(Path(folder))
        found = [_try(run, options.model, Path(folder), count) for count in (options.few, options.many)]
    small_jobs.write(options.page, "archive", _table(found))
    flat = found[1].memory <= _FLAT * found[0].memory and found[1].actor <= _FLAT * found[0].actor
    if not (flat and all(one.whole for one in found)):
        sys.exit("not as promised: a row is missing or twice, or a part was made twice, or memory grew")


def _table(found: list[Found]) -> str:
    head = ("images", "rows", "distinct images", "parts before the kill", "parts written again")
    head += ("seconds", "peak memory of the command, MB", "peak memory of a worker, MB")
    rows = [
        (one.images, one.rows, one.different, one.kept, one.written_again, one.seconds, one.memory, one.actor)
        for one in found
    ]
    cells = [[f"{cell:,.0f}" for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---:",) * len(head), *cells))


def _try(run: Path, model: str, folder: Path, count: int) -> Found:
    images, out = folder / f"images-{count}", folder / f"out-{count}"
    _draw(images, count)
    words = ("predict", run, images, "--out", out, "--model", model, "--ray", "local")
    begun = time.perf_counter()
    first = _killed_halfway(words, out, count)
    kept = _parts(out)
    second = small_jobs.command(*words)
    seconds = time.perf_counter() - begun
    again = sum(time_ns != kept[file] for file, time_ns in _parts(out).items() if file in kept)
    paths = [path for file in _parts(out) for path in parquet.read_table(file)["path"].to_pylist()]
    memory, actor = max(first.memory, second.memory), max(first.child, second.child)
    return Found(count, len(paths), len(set(paths)), len(kept), again, seconds, memory, actor)


def _draw(folder: Path, count: int) -> None:
    """Draw noise around a disc; no two images are similar."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64] - 32
    for number in range(count):
        if number % _FOLDER == 0:
            here = folder / f"{number // _FOLDER:05d}"
            here.mkdir(parents=True)
        pixels = 120 * (x * x + y * y < rng.integers(100, 900)) + rng.integers(0, 60, (64, 64))
        Image.fromarray(pixels.astype(np.uint8)).save(here / f"synthetic_{number:07d}.png", compress_level=1)


def _killed_halfway(words: tuple[object, ...], out: Path, count: int) -> small_jobs.Done:
    """Return what was measured until the kill, when Ray's processes have ended too."""
    process = small_jobs.begin(*words)
    watch = small_jobs.Watch(process.pid)
    while len(_parts(out)) < count // PART // 2:
        if process.poll() is not None:
            sys.exit(f"predict ended before it was killed, with exit code {process.returncode}")
        time.sleep(0.1)
    family = small_jobs.below(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    end = time.monotonic() + _PATIENCE
    while any(map(small_jobs.lives, family)):
        if time.monotonic() > end:
            sys.exit("Ray's processes outlive the command that was killed")
        time.sleep(0.1)
    return watch.stop()


def _parts(out: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in out.glob("part-*.parquet")}


if __name__ == "__main__":
    main()
