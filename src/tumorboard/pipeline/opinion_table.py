"""Opinions of the board as rows of plain values, and those as a CSV."""

import csv
import io
import json
from pathlib import Path
from typing import IO, Any

import numpy as np

from tumorboard import NOTICE
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
        value = " | ".join(value)
    return neutralised(value) if isinstance(value, str) else value
