"""A command line that trains nothing: `python fake_training.py train DATA --out RUN ...`.

It works in the run folder as `tumorboard train` does: with its lock, its progress, the history of the model
in hand and its stop at a signal. It ends when a file `go` lies in the run folder.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from tumorboard import progress, run_folder
from tumorboard.errors import TumorboardError, UsageError
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder
from tumorboard.run_state import recorded

PLAN = {"prepare": 1.0, "custom": {"custom: training": 8.0}, "report": 1.0}
FAILING = "2147483647"  # the seed of a run that fails


def history(epochs: int) -> list[dict[str, float]]:
    """Rows as those of `training.checkpoint`, of a model that overfits in the end."""
    rows = []
    for epoch in range(1, epochs + 1):
        valid = 1.1 / epoch**0.4 + 0.02 * max(epoch - 7, 0)
        losses = {"loss": 1.2 / epoch**0.7, "val_loss": valid}
        rows.append({"epoch": epoch, **losses, "accuracy": 1 - 0.6 / epoch, "val_accuracy": 1 - valid / 2})
    return rows


def train(arguments: list[str]) -> None:
    run, console = RunFolder(Path(arguments[arguments.index("--out") + 1])), Console()
    with (
        progress.graceful(),
        run_folder.locked(run),
        console.overall({run.root.name: PLAN}),
        recorded(run, console),
        console.phase(run.root.name),
    ):
        with console.phase("prepare"):
            if FAILING in arguments:
                raise UsageError("expected a seed that works, found none; choose another --seed")
        run.state("custom").parent.mkdir(exist_ok=True)
        np.savez(run.state("custom"), progress=np.array(json.dumps({"history": history(12)})))
        with console.phase("custom"), console.task("custom: training") as update:
            done = 0
            while not (run.root / "go").exists():
                progress.stop_if_asked()
                done = min(done + 1, 9)
                update(done, 10, "loss 0.5")
                time.sleep(0.02)
        with console.phase("report"):
            run.metrics.write_text("{}")
            run.checksums.write_text("")
            run.summary.write_text("Recommended model: custom\n")
            run.report.write_text("<!doctype html><title>Report</title><h1>The report</h1>")


if __name__ == "__main__":
    try:
        train(sys.argv[1:])
    except TumorboardError as error:
        sys.stderr.write(f"tumorboard: {error}\n")
        sys.exit(error.exit_code)
