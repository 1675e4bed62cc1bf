"""Loss and accuracy per epoch of the models of a run, also of one that is being trained.

Finished models have a table in history/, the one in hand a checkpoint in state/. Both may be a stranger's:
they are read with limits, and what is damaged counts as not there.
"""

import json
import math
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tumorboard.run_folder import HISTORY_COLUMNS, RunFolder
from tumorboard.storage import modified, open_regular, read_regular

_PARTS = ("", "folds/*", "seed-*", "trials/*/*")  # runs within the folder of several runs or of a search
_MAX_PARTS = 1000
_LONGEST = 4 << 20  # bytes of a table, or of the text in a checkpoint
_POINTS = 200  # of a curve; of more epochs, some are left out


def learning_curves(run: RunFolder) -> list[dict[str, Any]]:
    """Return the curves of a run's models, the first trained first; of several runs those of the latest.

    Returns:
        Of each model `model` (its name), `part` (the run within the folder, "" for the folder itself),
        `in_training`, and `rows` of `HISTORY_COLUMNS`.
    """
    files = [(modified(file), part, file) for part in _parts(run.root) for file in _files(part)]
    latest = max(files, default=(0.0, run.root, run.root))[1]
    curves: dict[str, dict[str, Any]] = {}
    for _, part, file in sorted(files):
        rows = _read(file) if part == latest else []
        step = max(1, math.ceil(len(rows) / _POINTS))
        if rows:
            curves[file.stem] = {
                "model": file.stem,
                "part": "" if part == run.root else part.relative_to(run.root).as_posix(),
                "in_training": file.suffix == ".npz",
                "rows": rows[(len(rows) - 1) % step :: step],  # with the last one
            }
    return list(curves.values())


def _parts(root: Path) -> list[Path]:
    parts = [part for pattern in _PARTS for part in (root.glob(pattern) if pattern else [root])]
    return [part for part in parts[:_MAX_PARTS] if not _leads_out(part, root)]


def _files(part: Path) -> Iterator[Path]:
    for pattern in ("history/*.csv", "state/*.npz"):
        for file in part.glob(pattern):
            if not file.name.startswith(".") and not _leads_out(file, part):
                yield file


def _leads_out(path: Path, root: Path) -> bool:
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def _read(file: Path) -> list[list[float]]:
    try:
        if file.suffix == ".csv":
            header, *lines = read_regular(file, _LONGEST).decode("utf-8").splitlines()
            names = header.split(",")  # numbers alone, see `build_models`
            rows: Any = [dict(zip(names, line.split(","), strict=True)) for line in lines]
        else:
            rows = _rows_of_checkpoint(file)
        return [_finite([float(row[name]) for name in HISTORY_COLUMNS]) for row in rows]
    except Exception:  # a damaged archive raises many kinds
        return []


def _rows_of_checkpoint(file: Path) -> Any:
    """Read the history in a checkpoint, see `training.checkpoint`, without the arrays of the network."""
    with (
        open_regular(file) as opened,
        zipfile.ZipFile(opened) as archive,
        archive.open("progress.npy") as array,
    ):
        np.lib.format.read_magic(array)
        np.lib.format.read_array_header_1_0(array)
        text = array.read(_LONGEST)  # not as long as the header says, which may be anything
    return json.loads(text.decode("utf-32-le"))["history"]


def _finite(row: list[float]) -> list[float]:
    if not all(map(math.isfinite, row)):
        raise ValueError(row)
    return [float(f"{value:.4g}") for value in row]
