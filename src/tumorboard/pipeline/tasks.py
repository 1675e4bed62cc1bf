"""A run of a study as pieces of work that can be done in several processes, the run folder between them.

Every model is a piece, which needs those that it is made of. The last piece needs all of them: calibration,
test, results.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from tumorboard import interruption, locking
from tumorboard.console import Console
from tumorboard.data import cache
from tumorboard.pipeline import board, fingerprint
from tumorboard.pipeline.job import Job, samples
from tumorboard.pipeline.prepare import prepare
from tumorboard.pipeline.train import refuse_a_study, train
from tumorboard.recipe import Recipe
from tumorboard.runfolder import RunFolder
from tumorboard.training import backend

_QUIET = Console(quiet=True)


@dataclass(frozen=True)
class Task:
    """One run; needs nothing of any other run, so it can be done anywhere.

    Attributes:
        source: Class folders, or the manifest it learns from.
        out: Its run folder, the record of what is finished.
        recipe: The settings.
        images: Where the decoded images lie, which runs may share.
        how: What else `train` is told: `class_map`, `merge`, `skip_bad`.
    """

    source: Path
    out: Path
    recipe: Recipe
    images: Path
    how: Mapping[str, Any] = field(default_factory=dict)


def carry_out(task: Task, console: Console = _QUIET) -> None:
    """All of a run, or its last piece: what was finished of it earlier is not done again."""
    train(task.source, task.out, task.recipe, **task.how, images=task.images, console=console)
    keras.utils.clear_session()  # or the graphs of all runs stay in memory


def begin(task: Task, console: Console = _QUIET) -> None:
    """Check and write down what the run is of, so that its models can be made beside each other."""
    run = RunFolder(task.out)
    refuse_a_study(run)
    how: dict[str, Any] = {"class_map": {}, "merge": {}, "skip_bad": False, **task.how}
    with locking.locked(run):
        prepare(task.source, run, task.recipe, console, **how, images=task.images)


def make(task: Task, name: str) -> None:
    """One model of a run that was begun, and what it says of train and validation."""
    run = RunFolder(task.out)
    with interruption.graceful(), locking.locked_model(run, name):
        manifest = samples(run)
        decoded = cache.decode(manifest, task.images, task.recipe.image)
        backend.prepare(task.recipe.seed, fingerprint.threads(task.recipe))
        board.admit(Job(run, task.recipe, manifest, decoded, _QUIET), name)
    keras.utils.clear_session()
