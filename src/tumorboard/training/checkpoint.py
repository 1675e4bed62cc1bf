"""Checkpoints for an exact resume: everything that the next epoch depends on, written atomically after each.

BackupAndRestore of Keras keeps neither the dropout seeds nor the state of early stopping, so that a resumed
run would end with other weights than an uninterrupted one.
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

EpochMetrics = dict[str, float]
"""epoch, loss, accuracy, val_loss and val_accuracy of one epoch."""


@dataclass
class TrainingState:
    """The history of a training, one row per epoch, and whether early stopping has ended it."""

    history: list[EpochMetrics]
    stopped: bool = False

    @property
    def epoch(self) -> int:
        """The number of finished epochs."""
        return len(self.history)


def read_state(path: Path) -> TrainingState:
    """Read the state of an interrupted training; without a file, that of one that has not begun."""
    if not path.is_file():
        return TrainingState([])
    with np.load(path, allow_pickle=False) as arrays:
        content = json.loads(str(arrays["progress"]))
    return TrainingState(content["history"], content["stopped"])


class Checkpoint(keras.callbacks.Callback):  # type: ignore[misc]
    """Write the state after each epoch; stop when asked, and when the loss is not finite.

    Args:
        path: The file of the state.
        state: What was read from the file; a row per epoch is appended.
        early: The early stopping callback, whose memory is part of the state; None if there is none.
        on_epoch: Called with each new row.
    """

    def __init__(
        self,
        path: Path,
        state: TrainingState,
        early: keras.callbacks.EarlyStopping | None,
        on_epoch: Callable[[EpochMetrics], None],
    ) -> None:
        super().__init__()
        self._path, self._state, self._early, self._on_epoch = path, state, early, on_epoch

    def on_train_begin(self, logs: EpochMetrics | None = None) -> None:
        """Restore all variables and the memory of early stopping, which it clears when a fit begins."""
        if not self._state.epoch:
            return
        early = self._early
        with np.load(self._path, allow_pickle=False) as arrays:
            for i, variable in enumerate(_variables(self.model)):
                variable.assign(arrays[f"variable{i}"])
            if early is not None:
                memory = json.loads(str(arrays["progress"]))["early"]
                early.wait, early.best, early.best_epoch = (
                    memory["wait"],
                    memory["best"],
                    memory["best_epoch"],
                )
                count = len([name for name in arrays.files if name.startswith("best")])
                early.best_weights = [arrays[f"best{i}"] for i in range(count)]

    def on_train_batch_end(self, batch: int, logs: EpochMetrics | None = None) -> None:
        """Stop if a signal has asked for it."""
        progress.stop_if_asked()

    def on_epoch_end(self, epoch: int, logs: EpochMetrics | None = None) -> None:
        """Check the metrics, append them to the history and write the state."""
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in (logs or {}).items()}}
        if not np.isfinite(list(row.values())).all():
            raise TrainingError(
                f"the loss of {self.model.name!r} is no longer a finite number in epoch {epoch + 1}; "
                "lower training.learning_rate in the recipe and train into a new folder"
            )
        self._state.history.append(row)
        self._state.stopped = bool(self.model.stop_training)
        arrays = {f"variable{i}": np.asarray(v) for i, v in enumerate(_variables(self.model))}
        early, memory = self._early, {}
        if early is not None:
            memory = {"wait": early.wait, "best": early.best, "best_epoch": early.best_epoch}
            arrays |= {f"best{i}": value for i, value in enumerate(early.best_weights or [])}
        content = {"history": self._state.history, "stopped": self._state.stopped, "early": memory}
        with writing(self._path) as file:
            np.savez(file, allow_pickle=False, progress=np.array(json.dumps(content)), **arrays)
        self._on_epoch(row)
        progress.stop_if_asked()


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Return weights, dropout and augmentation seeds, and the optimizer's variables."""
    return [*model.variables, *model.optimizer.variables]
