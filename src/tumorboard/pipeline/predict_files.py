"""Many files through the board into a table, a row a file; what cannot be read gets a row that says why.

Rows are kept in a file beside the table as they are made, one line of JSON each, so memory does not grow and
a repeated command goes on where an interrupted one stopped.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import filelock

from tumorboard import interruption, storage
from tumorboard.console import Console
from tumorboard.data import stores
from tumorboard.data.stores import Source
from tumorboard.errors import DataError, RunFolderError, UsageError
from tumorboard.pipeline.engines import KERAS, on_engine
from tumorboard.pipeline.opinion_table import Row, opinion_row, sha256_of, shown_path, write_table
from tumorboard.pipeline.predict import Board, open_board
from tumorboard.runfolder import RunFolder


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
    """Write the board's opinion of every file to a CSV; see docs/predict.md for its columns.

    Args:
        run: A finished run.
        sources: Files, folders, CSVs with a column `path`; as text, addresses in a store (`stores.sources`).
        out: The table; an older one is replaced when the new one is complete.
        models: Of the run; all by default.
        engine: What the models run on: keras, openvino, onnx; as `engines.on_engine`.
        console: Where progress is shown; quiet by default.

    Raises:
        DataError: Nothing to predict, or a list that cannot be read. A bad image is no error here.
        UsageError, RunFolderError, ModelError: As `open_board`; or `out` is a source.
        RunFolderError: Or another command writes this table now.
        StorageError, Interrupted: What was finished is kept, and not done again.
    """
    console = console or Console(quiet=True)
    _check(sources, out)
    total = sum(1 for _ in stores.sources(sources))
    if not total:
        raise DataError(f"expected images in {sources[0]}, found no file; check the path")
    with interruption.graceful(), _alone(out):
        board = on_engine(open_board(run, models), run, engine)
        kept = _kept_at(out, run, board)
        failed = _collect(board, sources, kept, total, console)
        with storage.writing(out) as file:
            write_table(file, board, kept)
        kept.unlink(missing_ok=True)
    return Predicted(out, total, failed, board.recommended)


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


def _kept_at(out: Path, run: Path, board: Board) -> Path:
    """Where rows are kept: named after the models, so that those of another board are never taken over."""
    digest = digest_of(RunFolder(run), repr((board.names, board.engine)))
    return out.with_name(f"{out.stem}.{digest.hexdigest()[:12]}.unfinished.jsonl")


def digest_of(run: RunFolder, asked: str) -> "hashlib._Hash":
    """Of what opinions depend on beside images: the run's models, calibration, figures; what is asked."""
    digest = hashlib.sha256(asked.encode())
    for file in (run.checksums, run.calibration, run.metrics):
        digest.update(file.read_bytes() if file.is_file() else b"none")
    return digest


def _collect(board: Board, sources: Sequence[Path | str], kept: Path, total: int, console: Console) -> int:
    """Make every row that is not made, and keep it; returns how many have an error."""
    failed = 0
    with _appending(kept) as file, console.task("predicting") as progress:
        for number, source in enumerate(stores.sources(sources), start=1):
            interruption.stop_if_asked()
            row = _next_kept(file, source) or _append(file, opinion_row(board, source))
            failed += bool(row["error"])
            progress(number, total, f"{failed} unreadable" if failed else "")
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
        with stores.opened(source) as file:
            return sha256_of(file) == digest
    except (DataError, OSError):
        return False


def _append(file: IO[bytes], row: Row) -> Row:
    file.write(json.dumps(row).encode() + b"\n")
    file.flush()
    return row
