"""A training shown elsewhere by TensorBoard's or MLflow's own callbacks; they listen and change nothing."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tumorboard import optional, storage

if TYPE_CHECKING:
    import keras

NEEDED = {
    "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic", "pandas"),
}
"""What can be tracked with, and the packages that it needs; each is an extra of its own."""
_URI = "MLFLOW_TRACKING_URI"
_EXPERIMENT = "tumorboard"


def require(kind: str) -> None:
    """Raise UsageError when a package is missing."""
    optional.require(f"--track {kind}", *NEEDED[kind], extra=kind)


def destination(kind: str, folder: Path) -> str:
    """Where the figures of a training go: the folder, or the MLflow server that the user has named."""
    return os.environ.get(_URI, str(folder)) if kind == "mlflow" else str(folder)


@contextlib.contextmanager
def callbacks_for(kind: str, folder: Path, name: str) -> Iterator["list[keras.callbacks.Callback]"]:
    """The callbacks that track one model's training; none for an empty kind.

    Args:
        kind: One of `NEEDED`, or "".
        folder: Where it is kept; nothing leaves the machine unless $MLFLOW_TRACKING_URI names a server.
        name: Of the model.
    """
    if kind == "mlflow":
        with _mlflow(folder, name) as callback:
            yield [callback]
    elif kind == "tensorboard":
        import keras  # seconds

        yield [keras.callbacks.TensorBoard(str(folder / name), write_graph=False)]
    else:
        yield []


@contextlib.contextmanager
def _mlflow(folder: Path, name: str) -> Iterator["keras.callbacks.Callback"]:
    """A run of MLflow; a resumed training goes on in the one that it began in, whose id is kept beside it."""
    mlflow, note = _opened(folder), folder / f"{name}.run"
    known = note.read_text("utf-8") if note.is_file() else None
    with mlflow.start_run(run_id=known, run_name=None if known else name) as run:
        storage.write_text(note, run.info.run_id)
        try:
            yield mlflow.keras.MlflowCallback()
        finally:
            mlflow.flush_async_logging()


def _opened(folder: Path) -> Any:
    """MLflow with its store: a SQLite file in the folder, unless the user has named another."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # it reports its use to its makers otherwise
    import mlflow
    import mlflow.keras

    folder.mkdir(parents=True, exist_ok=True)
    if _URI not in os.environ:
        mlflow.set_tracking_uri(f"sqlite:///{folder.absolute() / 'mlflow.db'}")
        os.environ.pop(_URI, None)  # it sets the variable itself; the next run has a folder of its own
        if mlflow.get_experiment_by_name(_EXPERIMENT) is None:
            mlflow.create_experiment(_EXPERIMENT, (folder / "artifacts").absolute().as_uri())
    mlflow.set_experiment(_EXPERIMENT)
    return mlflow
