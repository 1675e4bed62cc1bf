"""Compare two Ray workers with one and with no Ray, for training with two seeds and for prediction.

    python benchmarks/cluster.py [--images 48] [--epochs 1] [--files 3000] [--page docs/scaling.md]

Each job runs three times, with one thread per task: without Ray, with one processor, with two.
Times are those of whole commands, including the start of Ray and of its workers. The cost of Ray is
the difference between the first two. It does not grow with the length of the tasks, so its share of
a job of five minutes with as many tasks follows. Needs two idle processors and half an hour.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import small_jobs

_JOB = 300  # seconds
_Run = Callable[[int, Path], small_jobs.Done]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=48, help="of each of four classes, to train on")
    parser.add_argument("--epochs", type=float, default=1, help="a share of the demo's")
    parser.add_argument("--files", type=int, default=3000, help="to predict")
    parser.add_argument("--page", type=Path, help="where the table is written, between its markers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings, images = small_jobs.recipe(folder, options.epochs), small_jobs.data(folder, options.images)

        def repeats(cpus: int, out: Path) -> small_jobs.Done:
            return small_jobs.train(images, out, settings, "--seeds", 2, cpus=cpus)

        rows = [_row("`train --seeds 2`", repeats, folder / "repeats")]
        run, files = folder / "repeats-0" / "seed-0", folder / "files"
        small_jobs.copies(images, files, options.files)

        def prediction(cpus: int, out: Path) -> small_jobs.Done:
            out = out if cpus else out.with_suffix(".csv")
            return small_jobs.command("predict", run, files, "--out", out, cpus=cpus)

        rows.append(_row(f"`predict`, {options.files} files", prediction, folder / "prediction"))
    head = "| job | no Ray, s | one worker, s | two workers, s | one / two | Ray cost, s | share of 5 min |"
    text = "\n".join([head, "| --- |" + " ---: |" * 6, *rows])
    text += f"\n\nLoad of the machine (five minutes) at the end: {os.getloadavg()[1]:.1f}."
    small_jobs.write(options.page, "cluster", text)


def _row(name: str, job: _Run, out: Path) -> str:
    none, one, two = (job(cpus, out.with_name(f"{out.name}-{cpus}")).seconds for cpus in (0, 1, 2))
    cost = one - none
    cells = (
        f"{none:.0f}",
        f"{one:.0f}",
        f"{two:.0f}",
        f"{one / two:.2f}",
        f"{cost:.0f}",
        f"{cost / _JOB:.0%}",
    )
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
