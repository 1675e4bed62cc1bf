"""Predict many files into one table that an interrupted command continues."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import filelock

from tumorboard import progress, run_folder, storage
from tumorboard.config import Frames
from tumorboard.data import object_store
from tumorboard.data.left_out import UNFINISHED, LeftOut, nothing_to_read, require_replaceable
from tumorboard.data.object_store import Source
from tumorboard.errors import DataError, RunFolderError, UsageError, display
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder
from tumorboard.workflows.patient_table import patients_of, write_patients
from tumorboard.workflows.prediction_table import (
    Row,
    digest_of,
    prediction_row,
    sha256_of,
    shown_path,
    write_csv,
)
from tumorboard.workflows.predictor import ONNX, RunPredictor, frames_of_training, load_run


@dataclass(frozen=True)
class Predicted:
    """The result of `predict_files`.

    Attributes:
        table: The CSV; with Ray a folder of Parquet parts.
        files: Its rows.
        failed: Rows with an error.
        left_out: What in the folders is no input.
        recommended: The model whose prediction is the run's answer; "" with Ray.
        engine: What predicted, one of `predictor.ENGINES`; "" with Ray.
        fallback: Why Keras predicted, although the joint graph was wanted; "" otherwise, and with Ray.
        patients: The CSV with one row per patient; None unless it was asked for or there are volumes.
    """

    table: Path
    files: int
    failed: int
    left_out: tuple[LeftOut, ...]
    recommended: str
    engine: str
    fallback: str = ""
    patients: Path | None = None


def predict_files(
    run: str | Path,
    sources: Sequence[Path | str],
    out: str | Path,
    *,
    models: Sequence[str] = (),
    engine: str = ONNX,
    ray: str = "",
    by: str = "",
    frames: Frames | None = None,
    console: Console | None = None,
) -> Predicted:
    """Write a run's predictions of every file, one row per file; docs/predict.md describes the columns.

    Args:
        run: A finished run.
        sources: Files, folders, CSVs with a column `path`; text with `://` is an address in an object store.
        out: The CSV; an older one is replaced when the new one is complete. With Ray, a folder.
        models: Of the run; all by default.
        engine: onnx or keras, as for `load_run`.
        ray: "local" or the address of a cluster that shares the files; "" for this process.
        by: "folder", "dicom" or a column of the lists, see `patient_table.patients_of`: also write a table
            with one row per patient, `OUT-patients.csv`. "" does so only if there are volumes, one row each.
        frames: The slices of volumes that are predicted, one row each; None for those of the training.
        console: Where progress is shown; quiet by default.

    Raises:
        DataError: Nothing to predict, or a list that cannot be read. A bad image is no error here.
        UsageError, RunFolderError, ModelError: As `load_run`; or `out` is one of the sources.
        RunFolderError: Or another command is writing this table.
        StorageError, Interrupted: What was finished is kept, and not done again.
    """
    run, out, console = Path(run), Path(out), console or Console(quiet=True)
    folder, left_out = RunFolder(run), list[LeftOut]()
    hashes = run_folder.read_checksums(folder)
    run_folder.select_models(folder, hashes, models)
    if frames is None:
        frames = frames_of_training(folder, hashes)
    sources = [place if "://" in str(place) else Path(place) for place in sources]
    if ray:
        if by:
            raise UsageError("expected --by without --ray, found both; leave one out")
        if out.suffix:
            raise UsageError("expected a folder as --out with --ray; it gets parts")
        from tumorboard.distributed import ray_cluster
        from tumorboard.workflows.cluster_predict import predict_on_cluster

        with ray_cluster.connected(ray):
            files, failed = predict_on_cluster(
                run,
                sources,
                out,
                models=models,
                engine=engine,
                frames=frames,
                console=console,
                left_out=left_out,
            )
        return Predicted(out, files, failed, tuple(left_out), "", "")
    if out.suffix.lower() != ".csv":
        raise UsageError(f"expected --out to end in .csv, found {out.name[-60:]!r}")
    if out.resolve() in {Path(source).resolve() for source in sources}:
        raise UsageError(f"expected --out to be a new file, found one of the lists: {display(out)}")
    require_replaceable(out)
    object_store.require_existing(sources)
    volume_of: dict[Path, Path] = {}
    listed: Iterable[Source] = object_store.sources(sources, left_out, frames, volume_of)
    if frames == "refuse":  # not in memory: there may be millions
        total, listed = sum(1 for _ in listed), object_store.sources(sources)
    else:  # the headers of volumes are read once
        listed = list(listed)
        total = len(listed)
    if not total:
        raise nothing_to_read(sources, left_out)
    patient_of = patients_of(sources, by, volume_of)
    with progress.graceful(), _locked_table(out):
        predictor = load_run(run, models, engine=engine)
        rows = unfinished_rows(out, run, predictor)
        files, failed = _predict_rows(predictor, listed, rows, total, console)
        with storage.writing(out) as file:
            write_csv(file, predictor, rows)
        table = out.with_name(f"{out.stem}-patients.csv") if by or volume_of else None
        if table:
            with storage.writing(table) as file:
                write_patients(file, predictor, rows, patient_of)
        rows.unlink(missing_ok=True)
    answer = predictor.recommended, predictor.engine, predictor.fallback
    return Predicted(out, files, failed, tuple(left_out), *answer, table)


def unfinished_rows(out: Path, run: Path, predictor: "RunPredictor") -> Path:
    """Name the file of finished rows after the models, so that rows of other models are never taken over."""
    digest = digest_of(RunFolder(run), repr((predictor.names, predictor.engine))).hexdigest()
    return out.with_name(f"{out.name}.{digest[:12]}{UNFINISHED}")


@contextlib.contextmanager
def _locked_table(out: Path) -> Iterator[None]:
    """Hold a lock that ends with its process: two commands that write one table would mix their rows."""
    lock = filelock.FileLock(out.with_name(f".{out.name}.lock"))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise RunFolderError(
            f"{display(out)} is being written by another predict; wait for it, or choose another --out"
        ) from None
    except OSError as error:
        raise storage.storage_error(out, error) from error
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _predict_rows(
    predictor: "RunPredictor", sources: Iterable[Source], kept: Path, total: int, console: Console
) -> tuple[int, int]:
    """Append every row that is not in the file `kept` yet; returns the numbers of rows and of errors.

    There are other rows than `total` where files have come or gone since they were counted.
    """
    number = failed = 0
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with kept.open("r+b" if kept.exists() else "w+b") as file, console.task("predicting") as update:
            for number, source in enumerate(sources, start=1):
                progress.stop_if_asked()
                row = _next_kept_row(file, source)
                if row is None:
                    row = prediction_row(predictor, source)
                    file.write(json.dumps(row).encode() + b"\n")
                    file.flush()
                failed += bool(row["error"])
                update(number, total, f"{failed} unreadable" if failed else "")
    except OSError as error:
        raise storage.storage_error(kept, error) from error
    return number, failed


def _next_kept_row(file: IO[bytes], source: Source) -> Row | None:
    """Return the next row that an interrupted command left, if it is of this file as it is now."""
    start = file.tell()
    with contextlib.suppress(ValueError, KeyError, TypeError, DataError, OSError):
        line = file.readline()
        row: Row = json.loads(line)
        if line.endswith(b"\n") and row["path"] == shown_path(source) and row["sha256"]:
            with object_store.opened(source) as content:
                if sha256_of(content) == row["sha256"]:
                    return row
    file.seek(start)
    file.truncate()
    return None
