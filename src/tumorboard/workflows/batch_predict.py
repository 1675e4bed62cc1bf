"""Opinions of the board as rows of plain values, and those as a CSV or as Parquet."""

import contextlib
import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import filelock
import numpy as np

from tumorboard import NOTICE, progress, storage
from tumorboard.data import object_store
from tumorboard.data.image_reader import unusable
from tumorboard.data.object_store import Opened, Source
from tumorboard.errors import DataError, RunFolderError, UsageError
from tumorboard.predictions import neutralised
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder
from tumorboard.workflows.export import KERAS, on_engine
from tumorboard.workflows.predictor import ImagePrediction, RunPredictor, load_run

Row = dict[str, Any]

COLUMNS = (
    "path",
    "sha256",
    "prediction",
    "confidence",
    "prediction_set",
    "refer",
    "out_of_distribution",
    "notes",
    "error",
)


def prediction_row(predictor: RunPredictor, source: Source) -> Row:
    """The board's prediction of a file as plain values, or why the file could not be read.

    Where it could not be read now, but may be later, the row holds `again` as well.
    """
    row: Row = dict.fromkeys(COLUMNS, None) | {
        "path": shown_path(source),
        "sha256": "",
        "notes": "",
        "error": "",
    }
    try:
        with object_store.opened(source) as file:
            row["sha256"] = sha256_of(file)
            pixels, notes = predictor.read_with_notes(file, str(source))
    except DataError as error:
        return row | {"error": str(error)}
    except OSError as error:
        why = unusable(str(source), f"a file that cannot be read ({error.strerror})")
        return row | {"error": str(why), "again": True}
    return row | {"notes": "; ".join(notes)} | plain_values(predictor, predictor.predict(pixels))


def sha256_of(file: Opened) -> str:
    """Of an open file, hex."""
    return hashlib.file_digest(file, "sha256").hexdigest()


def shown_path(source: Source) -> str:
    """A path or an address as text that UTF-8 holds."""
    return str(source).encode("utf-8", "backslashreplace").decode("utf-8")


def plain_values(predictor: RunPredictor, prediction: ImagePrediction) -> Row:
    """Return a prediction as plain values: class, confidence, set, flags, and probabilities by model."""
    row = prediction.calibrated
    row = prediction.probabilities[predictor.recommended] if row is None else row
    inside, names = prediction.prediction_set, predictor.class_names
    return {
        "prediction": names[int(row.argmax())],
        "confidence": float(row.max()),
        "prediction_set": None if inside is None else [names[c] for c in np.flatnonzero(inside)],
        "refer": prediction.refer,
        "out_of_distribution": prediction.out_of_distribution,
        "probabilities": {name: values.tolist() for name, values in prediction.probabilities.items()},
    }


def write_table(file: IO[bytes], predictor: RunPredictor, kept: Path) -> None:
    """The kept rows, one line of JSON each, as CSV; see docs/predict.md for its columns."""
    text = io.TextIOWrapper(file, "utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    columns = [f"{name}:{one}" for name in predictor.names for one in predictor.class_names]
    writer.writerow([*COLUMNS, *map(neutralised, columns), "notice"])
    with kept.open("rb") as lines:
        for line in lines:
            row = json.loads(line)
            values = row.get("probabilities") or {
                name: [""] * len(predictor.class_names) for name in predictor.names
            }
            told = [value for name in predictor.names for value in values[name]]
            writer.writerow([*(_cell(row[name]) for name in COLUMNS), *told, NOTICE])
    text.flush()
    text.detach()


def _cell(value: Any) -> Any:
    """Empty where nothing is known; nothing that a spreadsheet would run."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        value = " | ".join(value) or "(none)"  # of classes that cannot be ruled out; empty: not known
    return neutralised(value) if isinstance(value, str) else value


def write_parquet(
    path: Path, predictor: RunPredictor, rows: Sequence[Row], metadata: Mapping[str, str]
) -> None:
    """Rows as Parquet, the columns those of docs/predict.md, the notice in the file's metadata; atomic."""
    import pyarrow
    from pyarrow import parquet

    kinds = {"confidence": pyarrow.float64(), "refer": pyarrow.bool_()}
    kinds |= {"out_of_distribution": pyarrow.bool_(), "prediction_set": pyarrow.list_(pyarrow.string())}
    columns = {
        name: pyarrow.array([row[name] for row in rows], kinds.get(name, "string")) for name in COLUMNS
    }
    for name in predictor.names:
        for number, one in enumerate(predictor.class_names):
            values = [_said(row, name, number) for row in rows]
            columns[f"{name}:{one}"] = pyarrow.array(values, "float64")
    content = pyarrow.table(columns).replace_schema_metadata({"notice": NOTICE, **metadata})
    with storage.replacing(path) as temporary:
        parquet.write_table(content, temporary)


def _said(row: Row, name: str, number: int) -> float | None:
    said = row.get("probabilities")
    return said[name][number] if said else None


@dataclass(frozen=True)
class Predicted:
    """What came of it.

    Attributes:
        table: The CSV.
        files: Rows in it.
        failed: Those with an error.
        recommended: The model whose answer is the board's.
    """

    table: Path
    files: int
    failed: int
    recommended: str


def predict_files(
    run: Path,
    sources: Sequence[Path | str],
    out: Path,
    *,
    models: Sequence[str] = (),
    engine: str = KERAS,
    console: Console | None = None,
) -> Predicted:
    """Write the board's prediction of every file to a CSV; see docs/predict.md for its columns.

    Args:
        run: A finished run.
        sources: Files, folders, CSVs with a column `path`; as text, addresses in a store (`stores.sources`).
        out: The table; an older one is replaced when the new one is complete.
        models: Of the run; all by default.
        engine: What the models run on: keras, openvino, onnx; as `engines.on_engine`.
        console: Where progress is shown; quiet by default.

    Raises:
        DataError: Nothing to predict, or a list that cannot be read. A bad image is no error here.
        UsageError, RunFolderError, ModelError: As `load_run`; or `out` is a source.
        RunFolderError: Or another command writes this table now.
        StorageError, Interrupted: What was finished is kept, and not done again.
    """
    console = console or Console(quiet=True)
    _check(sources, out)
    total = sum(1 for _ in object_store.sources(sources))
    if not total:
        raise DataError(f"expected images in {sources[0]}, found no file; check the path")
    with progress.graceful(), _alone(out):
        predictor = on_engine(load_run(run, models), run, engine)
        kept = _kept_at(out, run, predictor)
        failed = _collect(predictor, sources, kept, total, console)
        with storage.writing(out) as file:
            write_table(file, predictor, kept)
        kept.unlink(missing_ok=True)
    return Predicted(out, total, failed, predictor.recommended)


def _check(sources: Sequence[Path | str], out: Path) -> None:
    if out.suffix.lower() != ".csv":
        raise UsageError(f"expected --out to end in .csv, found {out.name[-60:]!r}")
    if out.resolve() in {Path(source).resolve() for source in sources}:
        raise UsageError(f"expected --out to be a new file, found one of the lists: {storage.shown(out)}")


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Two commands that write one table would mix their rows; the lock dies with its process."""
    lock = filelock.FileLock(out.with_name(f".{out.name}.lock"))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise RunFolderError(
            f"{storage.shown(out)} is being written by another predict; wait for it, or choose another --out"
        ) from None
    except OSError as error:
        raise storage.storage_error(out, error) from error
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _kept_at(out: Path, run: Path, predictor: RunPredictor) -> Path:
    """Where rows are kept: named after the models, so that those of another board are never taken over."""
    digest = digest_of(RunFolder(run), repr((predictor.names, predictor.engine)))
    return out.with_name(f"{out.stem}.{digest.hexdigest()[:12]}.unfinished.jsonl")


def digest_of(run: RunFolder, asked: str) -> "hashlib._Hash":
    """Of what opinions depend on beside images: the run's models, calibration, figures; what is asked."""
    digest = hashlib.sha256(asked.encode())
    for file in (run.checksums, run.calibration, run.metrics):
        digest.update(file.read_bytes() if file.is_file() else b"none")
    return digest


def _collect(
    predictor: RunPredictor, sources: Sequence[Path | str], kept: Path, total: int, console: Console
) -> int:
    """Make every row that is not made, and keep it; returns how many have an error."""
    failed = 0
    with _appending(kept) as file, console.task("predicting") as update:
        for number, source in enumerate(object_store.sources(sources), start=1):
            progress.stop_if_asked()
            row = _next_kept(file, source) or _append(file, prediction_row(predictor, source))
            failed += bool(row["error"])
            update(number, total, f"{failed} unreadable" if failed else "")
    return failed


@contextlib.contextmanager
def _appending(kept: Path) -> Iterator[IO[bytes]]:
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with kept.open("r+b" if kept.exists() else "w+b") as file:
            yield file
    except OSError as error:
        raise storage.storage_error(kept, error) from error


def _next_kept(file: IO[bytes], source: Source) -> Row | None:
    """The next row that an interrupted command left, if it is of this file as it is now."""
    start = file.tell()
    with contextlib.suppress(ValueError, KeyError, TypeError):
        line = file.readline()
        row: Row = json.loads(line)
        if (
            line.endswith(b"\n")
            and row["path"] == shown_path(source)
            and row["sha256"]
            and _same(source, row["sha256"])
        ):
            return row
    file.seek(start)
    file.truncate()
    return None


def _same(source: Source, digest: str) -> bool:
    try:
        with object_store.opened(source) as file:
            return sha256_of(file) == digest
    except (DataError, OSError):
        return False


def _append(file: IO[bytes], row: Row) -> Row:
    file.write(json.dumps(row).encode() + b"\n")
    file.flush()
    return row
