"""Trainings shown elsewhere: no bit changes, a resumed one goes on, nothing leaves this machine."""

import contextlib
import os
import socket
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from tests.training.test_fit import trained
from tumorboard import optional
from tumorboard.config import Training
from tumorboard.errors import Interrupted, UsageError
from tumorboard.training import tracking

SETTINGS = Training(epochs=4, patience=2, batch=8, learning_rate=0.01)
KINDS = tuple(tracking.NEEDED)
# MLflow 3.17 speaks to SQLAlchemy 2.1 in words of 2.0.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("a connection")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refused)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)


def require(kind: str) -> None:
    for name in tracking.NEEDED[kind]:
        pytest.importorskip(name, reason=f'needs `pip install ".[{kind}]"`')


def fitted(kind: str, root: Path, epochs_before_a_stop: int = 0) -> tuple[list[np.ndarray], list]:
    """Weights and history of a training that is tracked, stopped once and resumed if wanted."""

    def stop(row: dict[str, float]) -> None:
        if row["epoch"] == epochs_before_a_stop and not (root / "stopped").exists():
            (root / "stopped").touch()
            raise Interrupted("stopped")

    for _ in range(2):
        with contextlib.suppress(Interrupted):
            with tracking.callbacks_for(kind, root / kind, "net") as listeners:
                model, history = trained(SETTINGS, root / "state.npz", listeners=listeners, on_epoch=stop)
            return [np.asarray(one) for one in model.get_weights()], history
    raise AssertionError


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory):
    return fitted("", tmp_path_factory.mktemp("alone"))


def losses(kind: str, folder: Path) -> list[float]:
    """The training losses that were shown, in the order of their epochs."""
    if kind == "mlflow":
        with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as store:
            found = store.execute("select value from metrics where key = 'loss' order by step, timestamp")
            return [value for (value,) in found]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(folder / "net" / "train"))
    events.Reload()
    return [float(make_ndarray(one.tensor_proto)) for one in events.Tensors("epoch_loss")]


@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_history_are_those_of_an_untracked_training_also_after_a_stop(
    kind, alone, tmp_path
) -> None:
    require(kind)
    weights, history = fitted(kind, tmp_path, 2)
    assert history == alone[1]
    assert all(np.array_equal(mine, its) for mine, its in zip(weights, alone[0], strict=True))
    assert losses(kind, tmp_path / kind) == pytest.approx([row["loss"] for row in history])
    if kind == "mlflow":
        stays_here(tmp_path / kind)


def stays_here(folder: Path) -> None:
    """One run in the folder, its artifacts too, and no report to MLflow's makers."""
    from mlflow.telemetry.utils import is_telemetry_disabled

    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as store:
        ((name, artifacts),) = store.execute("select name, artifact_uri from runs")
    assert name == "net"
    assert artifacts.startswith((folder / "artifacts").as_uri())
    assert is_telemetry_disabled()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_another_place_is_the_users_own_choice_and_said(tmp_path, monkeypatch) -> None:
    assert tracking.destination("mlflow", tmp_path) == str(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://tracking.example")
    assert tracking.destination("mlflow", tmp_path) == "https://tracking.example"
    assert tracking.destination("tensorboard", tmp_path) == str(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_extra_one_line_says_how_to_get_it(kind, monkeypatch) -> None:
    monkeypatch.setattr(optional, "find_spec", lambda name: None if name != "pip" else name)
    with pytest.raises(UsageError, match=rf'--track {kind} .*pip install .*"{kind}\S*>='):
        tracking.require(kind)
