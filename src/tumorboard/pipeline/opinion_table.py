"""Opinions of the board as rows of plain values, and those as a CSV or as Parquet."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from tumorboard import NOTICE, storage
from tumorboard.data import stores
from tumorboard.data.reading import unusable
from tumorboard.data.stores import Opened, Source
from tumorboard.errors import DataError
from tumorboard.pipeline.predict import Board, Opinion
from tumorboard.predictions import neutralised

Row = dict[str, Any]

FACTS = (
    "path",
    "sha256",
    "answer",
    "confidence",
    "possible",
    "ask_a_human",
    "unlike_training",
    "notes",
    "error",
)


def opinion_row(board: Board, source: Source) -> Row:
    """The board's opinion of a file as plain values, or why the file could not be read.

    Where it could not be read now, but may be later, the row holds `again` as well.
    """
    row: Row = dict.fromkeys(FACTS, None) | {
        "path": shown_path(source),
        "sha256": "",
        "notes": "",
        "error": "",
    }
    try:
        with stores.opened(source) as file:
            row["sha256"] = sha256_of(file)
            pixels, notes = board.read_open(file, str(source))
    except DataError as error:
        return row | {"error": str(error)}
    except OSError as error:
        why = unusable(str(source), f"a file that cannot be read ({error.strerror})")
        return row | {"error": str(why), "again": True}
    return row | {"notes": "; ".join(notes)} | facts(board, board.opinion(pixels))


def sha256_of(file: Opened) -> str:
    """Of an open file, hex."""
    return hashlib.file_digest(file, "sha256").hexdigest()


def shown_path(source: Source) -> str:
    """A path or an address as text that UTF-8 holds."""
    return str(source).encode("utf-8", "backslashreplace").decode("utf-8")


def facts(board: Board, opinion: Opinion) -> Row:
    """An opinion as plain values: answer, confidence, prediction set, flags, and each model's row."""
    row = opinion.probabilities[board.recommended] if opinion.calibrated is None else opinion.calibrated
    possible = opinion.possible
    return {
        "answer": board.class_names[int(row.argmax())],
        "confidence": float(row.max()),
        "possible": None if possible is None else [board.class_names[c] for c in np.flatnonzero(possible)],
        "ask_a_human": opinion.abstains,
        "unlike_training": opinion.unlike,
        "probabilities": {name: one.tolist() for name, one in opinion.probabilities.items()},
    }


def write_table(file: IO[bytes], board: Board, kept: Path) -> None:
    """The kept rows, one line of JSON each, as CSV; see docs/predict.md for its columns."""
    text = io.TextIOWrapper(file, "utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    columns = [f"{name}:{one}" for name in board.names for one in board.class_names]
    writer.writerow([*FACTS, *map(neutralised, columns), "notice"])
    with kept.open("rb") as lines:
        for line in lines:
            row = json.loads(line)
            values = row.get("probabilities") or {name: [""] * len(board.class_names) for name in board.names}
            told = [value for name in board.names for value in values[name]]
            writer.writerow([*(_cell(row[name]) for name in FACTS), *told, NOTICE])
    text.flush()
    text.detach()


def _cell(value: Any) -> Any:
    """Empty where nothing is known; nothing that a spreadsheet would run."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        value = " | ".join(value) or "(none)"  # of classes that cannot be ruled out; empty: not known
    return neutralised(value) if isinstance(value, str) else value


def write_parquet(path: Path, board: Board, rows: Sequence[Row], metadata: Mapping[str, str]) -> None:
    """Rows as Parquet, the columns those of docs/predict.md, the notice in the file's metadata; atomic."""
    import pyarrow
    from pyarrow import parquet

    kinds = {"confidence": pyarrow.float64(), "ask_a_human": pyarrow.bool_()}
    kinds |= {"unlike_training": pyarrow.bool_(), "possible": pyarrow.list_(pyarrow.string())}
    columns = {name: pyarrow.array([row[name] for row in rows], kinds.get(name, "string")) for name in FACTS}
    for name in board.names:
        for number, one in enumerate(board.class_names):
            values = [_said(row, name, number) for row in rows]
            columns[f"{name}:{one}"] = pyarrow.array(values, "float64")
    content = pyarrow.table(columns).replace_schema_metadata({"notice": NOTICE, **metadata})
    with storage.replacing(path) as temporary:
        parquet.write_table(content, temporary)


def _said(row: Row, name: str, number: int) -> float | None:
    said = row.get("probabilities")
    return said[name][number] if said else None
