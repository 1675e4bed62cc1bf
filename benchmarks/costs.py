"""Fit the costs per image and per task, and extrapolate them to 10^5, 10^6 and 10^7 images.

    python benchmarks/costs.py [--page docs/scaling.md]

Runs the demo's recipe on several numbers of synthetic images with one thread: `train`, `predict`
with one Ray worker, and `audit`. A straight line is fitted to each cost by least squares: a
constant per task and a slope per image. For the audit the exponent is printed too, to check the
assumption of a straight line. The extrapolation is not a measurement. Needs Linux and a quarter of
an hour on an idle machine.
"""

import argparse
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import small_jobs

_SIZES = (1e5, 1e6, 1e7)


@dataclass(frozen=True)
class Line:
    """A cost of n images, fixed + each * n, in the unit that its title names."""

    title: str
    fixed: float
    each: float

    def row(self) -> str:
        """Return a row of the table."""
        cells = [self.fixed, self.each, *(self.fixed + self.each * size for size in _SIZES)]
        told = [f"{round(cell, 6):,.3g}" if abs(cell) < 1000 else f"{cell:,.0f}" for cell in cells]
        return f"| {self.title} | {' | '.join(told)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, nargs="+", default=(16, 24, 32), help="images per class")
    parser.add_argument("--files", type=int, nargs="+", default=(100, 400), help="to predict")
    parser.add_argument("--audit", type=int, nargs="+", default=(16, 50, 200), help="images per class")
    parser.add_argument("--page", type=Path, help="where the table is written, between its markers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = _training(folder, options.train)
        lines += _prediction(folder, options.files, options.train[0])
        audit, exponent = _audit(folder, options.audit)
    head = (
        f"| cost | per task | per image | {' | '.join(f'10^{len(str(int(size))) - 1}' for size in _SIZES)} |"
    )
    rows = [line.row() for line in [*lines, audit]]
    text = "\n".join([head, "| --- |" + " ---: |" * 5, *rows])
    text += f"\n\nThe time of the audit grew with the power {exponent:.2f} of the number of images. "
    text += f"Load of the machine (five minutes) at the end: {os.getloadavg()[1]:.1f}."
    small_jobs.write(options.page, "costs", text)


def _training(folder: Path, classes: Sequence[int]) -> list[Line]:
    settings, counts, found = small_jobs.recipe(folder), [], []
    for number in classes:
        images = small_jobs.data(folder, number)
        done = small_jobs.train(images, folder / f"run-{number}", settings)
        counts.append(_files(images))
        found.append(
            (done.seconds, done.memory, done.disk, small_jobs.size(folder / f"run-{number}"), done.read)
        )
    titles = ("thread seconds", "memory, MB", "disk while running, MB", "disk afterwards, MB", "read, MB")
    return _lines("train", titles, counts, found)


def _prediction(folder: Path, counts: Sequence[int], trained: int) -> list[Line]:
    run, images = folder / f"run-{trained}", small_jobs.data(folder, trained)
    found = []
    for count in counts:
        files, out = small_jobs.copies(images, folder / f"files-{count}", count), folder / f"out-{count}"
        done = small_jobs.command("predict", run, files, "--out", out, cpus=1)
        found.append((done.seconds, done.child, small_jobs.size(out), done.read))
    return _lines(
        "predict", ("thread seconds", "memory per worker, MB", "disk, MB", "read, MB"), counts, found
    )


def _audit(folder: Path, classes: Sequence[int]) -> tuple[Line, float]:
    n, seconds = [], []
    for number in classes:
        images = small_jobs.data(folder, number)
        seconds.append(small_jobs.command("audit", images, accept=(0, 9)).seconds)
        n.append(_files(images))
    grown = (seconds[-1] - seconds[0]) / (seconds[1] - seconds[0])  # free of what a start costs
    exponent = np.log(grown) / np.log((n[-1] - n[0]) / (n[1] - n[0]))
    return _lines("audit", ("thread seconds",), n, [(one,) for one in seconds])[0], float(exponent)


def _lines(
    job: str, titles: Sequence[str], counts: Sequence[int], found: Sequence[tuple[float, ...]]
) -> list[Line]:
    return [
        Line(f"{job}: {title}", *np.polyfit(counts, costs, 1)[::-1])
        for title, costs in zip(titles, zip(*found, strict=True), strict=True)
    ]


def _files(folder: Path) -> int:
    return sum(1 for file in folder.rglob("synthetic_*"))


if __name__ == "__main__":
    main()
