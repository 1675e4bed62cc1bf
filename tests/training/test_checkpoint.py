"""A fit interrupted after any epoch goes on as if it had not been: T6 of the hazards."""

import os
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.training.test_fit import trained
from tumorboard import progress
from tumorboard.config import Training
from tumorboard.errors import Interrupted, StorageError
from tumorboard.run_folder import HISTORY_COLUMNS, RunFolder
from tumorboard.server.curves import learning_curves
from tumorboard.training import checkpoint

SERIES = {
    "stops, best in the middle": [0.2, 0.6, 0.5, 0.6, 0.9, 0.1],
    "a new best at the last moment": [0.5, 0.4, 0.6, 0.6, 0.6, 0.9],
    "rises to the end": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
}
PATIENCE = 2
SETTINGS = Training(
    epochs=6, patience=PATIENCE, batch=10, learning_rate=0.05, schedule="one-cycle", optimizer="adamw"
)


def expected(series: list[float]) -> tuple[int, int]:
    """The best epoch and the last one: stop when PATIENCE epochs brought nothing better."""
    best = 0
    for epoch, value in enumerate(series):
        best = epoch if value > series[best] else best
        if epoch - best == PATIENCE:
            return best + 1, epoch + 1
    return best + 1, len(series)


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let validation accuracy be what a test wants it to be."""
    series: list[float] = []
    inner = keras.callbacks.EarlyStopping.on_epoch_end

    def planted(self: keras.callbacks.EarlyStopping, epoch: int, logs: dict[str, float]) -> None:
        logs["val_accuracy"] = series[epoch]
        inner(self, epoch, logs)

    monkeypatch.setattr(keras.callbacks.EarlyStopping, "on_epoch_end", planted)
    return series


class Witness:
    """Notes the learning rate and the weights at the end of each epoch, and keeps the state of it."""

    def __init__(self, state: Path) -> None:
        self.state, self.rates, self.weights = state, [], []

    def __call__(self, row: dict[str, float]) -> None:
        self.rates.append(float(self.model.optimizer.learning_rate))
        self.weights.append(self.model.get_weights())
        shutil.copy(self.state, f"{self.state}-{int(row['epoch'])}")

    def run(self, first: int, settings: Training = SETTINGS) -> list[dict[str, float]]:
        """Fit from the state that is there, whatever the first weights are."""
        begin = checkpoint.Checkpoint.on_train_begin

        def note(keeper: checkpoint.Checkpoint, logs: Any = None) -> None:
            self.model = keeper.model
            begin(keeper, logs)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoint.Checkpoint, "on_train_begin", note)
            self.model, history = trained(settings, self.state, on_epoch=self, first=first)
        return history


def same(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("series", SERIES.values(), ids=SERIES)
def test_resumed_after_any_epoch_the_end_is_the_same_bit_for_bit(
    plant: list[float], series: list[float], tmp_path: Path
) -> None:
    plant[:] = series
    alone = Witness(tmp_path / "alone")
    history = alone.run(first=0)
    best, last = expected(series)
    assert len(history) == last
    assert same(alone.model.get_weights(), alone.weights[best - 1])
    assert len(set(alone.rates)) == last  # the schedule moves, so that a lost step would show
    for epoch in range(1, last + 1):
        again = Witness(tmp_path / f"resumed{epoch}")
        shutil.copy(tmp_path / f"alone-{epoch}", again.state)
        assert again.run(first=50) == history, f"resumed after epoch {epoch}"
        assert again.rates == alone.rates[epoch:]
        assert same(again.model.get_weights(), alone.model.get_weights())


def test_an_average_of_the_weights_is_resumed_bit_for_bit_after_any_epoch(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"patience": 0, "average": 0.8})
    alone = Witness(tmp_path / "alone")
    history = alone.run(0, settings)
    assert not same(alone.model.get_weights(), alone.weights[-1])
    for epoch in range(1, 7):
        again = Witness(tmp_path / f"resumed{epoch}")
        shutil.copy(tmp_path / f"alone-{epoch}", again.state)
        assert again.run(50, settings) == history
        assert same(again.model.get_weights(), alone.model.get_weights()), f"resumed after epoch {epoch}"


def test_interrupted_while_norms_settle_it_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SETTINGS.model_copy(update={"patience": 0, "average": 0.8, "epochs": 1})
    model, _ = trained(settings, tmp_path / "alone")
    stops = iter([False] * 4 + [True])  # two batches, the epoch's end, one batch of the pass

    def stop() -> None:
        if next(stops):
            raise Interrupted("stopped")

    monkeypatch.setattr(progress, "stop_if_asked", stop)
    with pytest.raises(Interrupted):
        trained(settings, tmp_path / "stopped")
    monkeypatch.undo()
    again, _ = trained(settings, tmp_path / "stopped", first=50)
    assert same(again.get_weights(), model.get_weights())


def test_interrupted_in_the_middle_of_an_epoch_it_repeats_the_epoch(tmp_path: Path) -> None:
    settings = Training(epochs=3, patience=0, batch=5)
    model, history = trained(settings, tmp_path / "alone")
    with pytest.MonkeyPatch.context() as patch:
        asked = iter([False] * 7 + [True])

        def stop() -> None:
            if next(asked):
                raise Interrupted("stopped")

        patch.setattr(progress, "stop_if_asked", stop)
        with pytest.raises(Interrupted):
            trained(settings, tmp_path / "stopped")
    assert checkpoint.read_state(tmp_path / "stopped").history == history[:1]
    again, resumed = trained(settings, tmp_path / "stopped", first=50)
    assert resumed == history
    assert same(again.get_weights(), model.get_weights())


def test_a_finished_fit_is_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Training(epochs=2, patience=0, batch=8)
    model, history = trained(settings, tmp_path / "state")

    def refuse(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(keras.Model, "train_step", refuse)
    again, repeated = trained(settings, tmp_path / "state", first=9)
    assert repeated == history
    assert same(again.get_weights(), model.get_weights())


def test_nothing_done_yet_when_there_is_no_state(tmp_path: Path) -> None:
    assert checkpoint.read_state(tmp_path / "state") == checkpoint.TrainingState([])
    assert checkpoint.read_state(tmp_path / "state").epoch == 0


def test_state_holds_no_pickle(tmp_path: Path) -> None:
    trained(Training(epochs=1, batch=8), tmp_path / "state")
    with np.load(tmp_path / "state", allow_pickle=False) as state:
        assert all(state[name].dtype != object for name in state.files)


def test_the_page_reads_the_history_of_a_state(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.state("custom").parent.mkdir()
    _, history = trained(Training(epochs=2, batch=8), run.state("custom"))
    (curve,) = learning_curves(run)
    np.testing.assert_allclose(
        curve["rows"], [[row[name] for name in HISTORY_COLUMNS] for row in history], rtol=1e-3
    )
    assert (curve["model"], curve["in_training"]) == ("custom", True)


def test_a_full_disk_leaves_the_state_of_the_epoch_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, replace, left = Training(epochs=3, patience=0, batch=8), os.replace, [1]

    def full(*args: Any) -> None:
        if not left:
            raise OSError(28, "No space left on device")
        left.pop()
        replace(*args)

    _, alone = trained(settings, tmp_path / "alone")
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match="no space left"):
        trained(settings, tmp_path / "state")
    assert checkpoint.read_state(tmp_path / "state").history == alone[:1]
    monkeypatch.undo()
    assert trained(settings, tmp_path / "state")[1] == alone
