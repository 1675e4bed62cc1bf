"""A model of a run for another runtime, compared on the run's own images."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from tumorboard import interruption, storage
from tumorboard.data.manifest import Sample
from tumorboard.data.modes import Pixels
from tumorboard.errors import DataError, RunFolderError
from tumorboard.exporting import exported, formats
from tumorboard.exporting.exported import Check
from tumorboard.models import storing
from tumorboard.models.embedding import embedder
from tumorboard.pipeline.job import samples
from tumorboard.pipeline.predict import Board, open_board
from tumorboard.runfolder import RunFolder

IMAGES = 32
"""How many images an export is compared on."""


@dataclass(frozen=True)
class Export:
    """What came of it: the file, or folder, and how it compared with Keras."""

    path: Path
    check: Check


def export(run: Path, model: str, format_name: str, out: Path | None = None) -> Export:
    """Write a model of a finished run in another format; it is kept only if it answers as Keras does.

    Args:
        run: The run folder.
        model: Its name, such as "ensemble".
        format_name: onnx, openvino, litert, or saved-model.
        out: The file; by default RUN/exports/FORMAT/MODEL with the suffix.

    Raises:
        UsageError: An unknown model or format, missing packages, or an `out` that will not do.
        RunFolderError: No finished run.
        ModelError: The run's model is damaged, or the file answers otherwise than Keras.
        StorageError: The disk.
    """
    suffix = formats.find(format_name).suffix
    path = out or RunFolder(run).export(model, format_name, suffix)
    with interruption.graceful():
        return export_from(open_board(run, (model,)), run, model, format_name, path)


def export_from(board: Board, run: Path, model: str, format_name: str, path: Path) -> Export:
    """As `export`, of a board that is open."""
    network = {"probabilities": board.models[model]}
    if formats.find(format_name).embeds:
        network[formats.EMBEDDING] = embedder(board.models[model])
    file = RunFolder(run).model(model)
    contract, sha256 = storing.read_contract(file), storage.sha256(file)
    check = exported.write(network, contract, sha256, format_name, path, *images_of(run, board))
    return Export(path, check)


def images_of(run: Path, board: Board) -> tuple[Pixels, bool]:
    """Images of train and validation, spread over both; random ones, and False, where these are gone."""
    found = list(islice(_readable(_samples(RunFolder(run)), board), IMAGES))
    if found:
        return np.stack(found), True
    size = board.image.size
    return np.random.default_rng(0).integers(0, 256, (IMAGES, size, size, 3), np.uint8), False


def _samples(run: RunFolder) -> Sequence[Sample]:
    """In an order of their own, so that classes and parts mix; test stays closed."""
    try:
        found = samples(run).samples
    except (DataError, RunFolderError, ValueError, TypeError):
        return ()
    return sorted((one for one in found if one.split != "test"), key=lambda one: one.sha256)


def _readable(samples: Sequence[Sample], board: Board) -> Iterator[Pixels]:
    for sample in samples:
        interruption.stop_if_asked()
        with contextlib.suppress(DataError, OSError):
            yield board.read(sample.path)
