"""An exact resume: everything that the next epoch depends on, written whole at the end of each.

Keras's own BackupAndRestore keeps neither the dropout seeds nor the state of early stopping, so a run
that was killed would end elsewhere than one that was not.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tumorboard import progress
from tumorboard.errors import TrainingError
from tumorboard.storage import writing

Row = dict[str, float]


@dataclass
class Progress:
    """Where a training stands: rows of the history, and whether it is over."""

    history: list[Row]
    stopped: bool = False

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)


class Checkpoint(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes the state after each epoch, stops when asked, refuses to go on with a loss that is no number.

    Args:
        path: The state file.
        progress: Filled with a row an epoch.
        early: The early stopping whose memory belongs to the state; None when there is none.
        on_epoch: Told the new row.
    """

    def __init__(
        self,
        path: Path,
        progress: Progress,
        early: keras.callbacks.EarlyStopping | None,
        on_epoch: Callable[[Row], None],
    ) -> None:
        super().__init__()
        self._path, self._progress, self._early, self._on_epoch = path, progress, early, on_epoch

    def on_train_begin(self, logs: Row | None = None) -> None:
        """Give early stopping back what it remembered; it forgets at the start of each fit."""
        if self._progress.epoch:
            _restore(self._path, self.model, self._early)

    def on_train_batch_end(self, batch: int, logs: Row | None = None) -> None:
        """A safe point."""
        progress.stop_if_asked()

    def on_epoch_end(self, epoch: int, logs: Row | None = None) -> None:
        """Note, check, write."""
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        if not np.isfinite(list(row.values())).all():
            raise TrainingError(
                f"the loss of {self.model.name!r} is no longer a finite number in epoch {epoch + 1}; "
                "lower training.learning_rate in the recipe and train into a new folder"
            )
        self._progress.history.append(row)
        self._progress.stopped = bool(self.model.stop_training)
        _write(self._path, self.model, self._early, self._progress)
        self._on_epoch(row)
        progress.stop_if_asked()


def read(path: Path) -> Progress:
    """How far the training got; nothing done when there is no state."""
    if not path.is_file():
        return Progress([])
    with np.load(path, allow_pickle=False) as state:
        content = json.loads(str(state["progress"]))
    return Progress(content["history"], content["stopped"])


def _write(
    path: Path, model: keras.Model, early: keras.callbacks.EarlyStopping | None, progress: Progress
) -> None:
    arrays = {f"variable{i}": np.asarray(v) for i, v in enumerate(_variables(model))}
    memory: dict[str, float | None] = {}
    if early is not None:
        memory = {"wait": early.wait, "best": early.best, "best_epoch": early.best_epoch}
        arrays |= {f"best{i}": value for i, value in enumerate(early.best_weights or [])}
    content = {"history": progress.history, "stopped": progress.stopped, "early": memory}
    with writing(path) as file:
        np.savez(file, allow_pickle=False, progress=np.array(json.dumps(content)), **arrays)


def _restore(path: Path, model: keras.Model, early: keras.callbacks.EarlyStopping | None) -> None:
    with np.load(path, allow_pickle=False) as state:
        for i, variable in enumerate(_variables(model)):
            variable.assign(state[f"variable{i}"])
        if early is not None:
            memory = json.loads(str(state["progress"]))["early"]
            early.wait, early.best, early.best_epoch = memory["wait"], memory["best"], memory["best_epoch"]
            best = [name for name in state.files if name.startswith("best")]
            early.best_weights = [state[f"best{i}"] for i in range(len(best))]


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Weights, dropout and augmentation seeds, and the optimizer's own."""
    return [*model.variables, *model.optimizer.variables]
