"""Measure how time and memory of `tumorboard train` grow with the number of images, and fit a line.

    python benchmarks/growth.py [--sizes 500 1000 2000 5000 10000] [--size 64] [--folder DIR]

Synthetic images; all four models with one epoch and one view, on small inputs: only the growth
matters, not the values. Every size runs in a process of its own. `own` is the peak of the memory
that the process itself holds (RssAnon), `mapped` that of mapped files with decoded images and
features, which the system can free. Without /proc of Linux memory is left out.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tumorboard.data.synthetic import draw

_TRAINING = "training = {{ views = {views}, epochs = 1, patience = 0 }}"
_RECIPE = f"""
name = "growth"
[image]
size = SIZE
[models.pretrained]
kind = "pretrained"
cut = "block5"
norms = "frozen"
pooling = "average"
{_TRAINING.format(views=1)}
[models.custom]
kind = "custom"
{_TRAINING.format(views=1)}
[ensemble]
form = "weighted"
[chained]
{_TRAINING.format(views=1)}
"""


@dataclass(frozen=True)
class Grown:
    """A run: number of images, seconds in all and per phase, peaks of memory in MB (0: unknown)."""

    images: int
    seconds: float
    phases: dict[str, float]
    own: float
    mapped: float


def main() -> None:
    """Print one line per size, and a fitted line for the time, its phases and the memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 1000, 2000, 5000, 10000])
    parser.add_argument("--size", type=int, default=64, help="of the networks' input")
    parser.add_argument("--folder", type=Path, help="where images and runs lie for a while")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        runs = [grown(Path(folder), images, options.size) for images in options.sizes]
    print(fitted("seconds", [(one.images, one.seconds) for one in runs], 100_000))
    for phase in runs[0].phases:
        print(fitted(f"  {phase}", [(one.images, one.phases[phase]) for one in runs], 100_000))
    if runs[0].own:
        print(fitted("own memory, MB", [(one.images, one.own) for one in runs], 100_000))
        print(fitted("mapped files, MB", [(one.images, one.mapped) for one in runs], 100_000))


def grown(folder: Path, images: int, size: int) -> Grown:
    """Draw the images, train, and print a line."""
    data, run, recipe = (folder / f"{kind}{images}" for kind in ("data", "run", "recipe"))
    draw(data, images_per_class=images // 4)
    recipe = recipe.with_suffix(".toml")
    recipe.write_text(_RECIPE.replace("SIZE", str(size)))
    options = ["--out", run, "--recipe", recipe, "--skip-bad"]
    command = [sys.executable, "-m", "tumorboard", "train", data, *options]
    begun = time.monotonic()
    process = subprocess.Popen([*map(str, command), "--quiet"], stdout=subprocess.DEVNULL)
    own, mapped = _peaks(process)
    seconds = time.monotonic() - begun
    if process.returncode:
        sys.exit(f"train ended with exit code {process.returncode} at {images} images")
    phases = json.loads((run / "state" / "phases.json").read_text())
    print(f"{images} images: {seconds:.0f} s, own memory {own:.0f} MB, mapped {mapped:.0f} MB", flush=True)
    return Grown(images, seconds, phases, own, mapped)


def _peaks(process: "subprocess.Popen[bytes]") -> tuple[float, float]:
    """Return the highest RssAnon and RssFile of a process until it ends, in MB."""
    own = mapped = 0.0
    while process.poll() is None:
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        except OSError:
            lines = []
        found = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Rss")}
        own = max(own, int(found.get("RssAnon", 0)) / 1024)
        mapped = max(mapped, int(found.get("RssFile", 0)) / 1024)
        time.sleep(0.1)
    return own, mapped


def fitted(what: str, points: list[tuple[int, float]], beyond: int) -> str:
    """Return the least-squares line, its largest deviation, and its extrapolation."""
    sizes, values = map(np.array, zip(*points, strict=True))
    slope, start = np.polyfit(sizes, values, 1)
    worst = np.abs(start + slope * sizes - values).max() / max(values.max(), 1e-9)
    power = np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-3)), 1)[0]
    return (
        f"{what}: {start:.1f} + {1000 * slope:.2f} per thousand images (off by {worst:.0%} of the largest at "
        f"most; grows as images^{power:.2f}); {beyond:,} images: {start + slope * beyond:,.0f}"
    )


if __name__ == "__main__":
    main()
