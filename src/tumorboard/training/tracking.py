"""Tracking of a training by the callbacks of TensorBoard or MLflow, which change nothing in it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tumorboard import optional, storage

if TYPE_CHECKING:
    import keras

NEEDED = {
    "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic", "pandas"),
}
"""Packages that each kind of tracking needs; each kind is an extra of its own."""
_URI = "MLFLOW_TRACKING_URI"
_EXPERIMENT = "tumorboard"


def require(kind: str) -> None:
    """Raise UsageError if a package is missing."""
    optional.require(f"--track {kind}", *NEEDED[kind], extra=kind)


def destination(kind: str, folder: Path) -> str:
    """Return where the metrics go: the folder, or the MLflow server that the user has set."""
    return os.environ.get(_URI, str(folder)) if kind == "mlflow" else str(folder)


@contextlib.contextmanager
def callbacks_for(kind: str, folder: Path, name: str) -> Iterator["list[keras.callbacks.Callback]"]:
    """Yield the callbacks that track the training of one model; none for an empty kind.

    Args:
        kind: One of `NEEDED`, or "".
        folder: Where the metrics are kept; nothing leaves the machine unless $MLFLOW_TRACKING_URI names a
            server.
        name: The model's name.
    """
    if kind == "mlflow":
        with _mlflow_run(folder, name) as callback:
            yield [callback]
    elif kind == "tensorboard":
        import keras  # takes seconds

        yield [keras.callbacks.TensorBoard(str(folder / name), write_graph=False)]
    else:
        yield []


@contextlib.contextmanager
def _mlflow_run(folder: Path, name: str) -> Iterator["keras.callbacks.Callback"]:
    """Open a run of MLflow, with a SQLite file in the folder as its store unless the user has set another.

    A resumed training continues its run, whose id is kept in the folder.
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # otherwise it reports its use to its makers
    import mlflow
    import mlflow.keras

    folder.mkdir(parents=True, exist_ok=True)
    if _URI not in os.environ:
        mlflow.set_tracking_uri(f"sqlite:///{folder.absolute() / 'mlflow.db'}")
        os.environ.pop(_URI, None)  # mlflow sets the variable; the next run has a folder of its own
        if mlflow.get_experiment_by_name(_EXPERIMENT) is None:
            mlflow.create_experiment(_EXPERIMENT, (folder / "artifacts").absolute().as_uri())
    mlflow.set_experiment(_EXPERIMENT)
    file = folder / f"{name}.run"
    run_id = file.read_text("utf-8") if file.is_file() else None
    with mlflow.start_run(run_id=run_id, run_name=None if run_id else name) as run:
        storage.write_text(file, run.info.run_id)
        try:
            yield mlflow.keras.MlflowCallback()
        finally:
            mlflow.flush_async_logging()
