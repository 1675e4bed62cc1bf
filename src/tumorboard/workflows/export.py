"""A model of a run for another runtime, compared on the run's own images."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from tumorboard import progress, storage
from tumorboard.data.manifest import Sample
from tumorboard.data.pixels import Pixels
from tumorboard.errors import DataError, RunFolderError
from tumorboard.export import exported_model, formats
from tumorboard.export.exported_model import Check
from tumorboard.models import saving
from tumorboard.models.model_spec import embedder
from tumorboard.run_folder import RunFolder
from tumorboard.workflows.predictor import Board, open_board
from tumorboard.workflows.run_context import samples

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
    with progress.graceful():
        return export_from(open_board(run, (model,)), run, model, format_name, path)


def export_from(board: Board, run: Path, model: str, format_name: str, path: Path) -> Export:
    """As `export`, of a board that is open."""
    network = {"probabilities": board.models[model]}
    if formats.find(format_name).embeds:
        network[formats.EMBEDDING] = embedder(board.models[model])
    file = RunFolder(run).model(model)
    contract, sha256 = saving.read_contract(file), storage.sha256(file)
    check = exported_model.write(network, contract, sha256, format_name, path, *images_of(run, board))
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
        progress.stop_if_asked()
        with contextlib.suppress(DataError, OSError):
            yield board.read(sample.path)


KERAS = "keras"


def on_engine(board: Board, run: Path, engine: str) -> Board:
    """The same board with its answers from `engine`: keras, openvino or onnx.

    Only heat maps stay with Keras. The export lies in RUN/exports; it is made again unless it is of the
    run's models and undamaged.

    Raises:
        UsageError: An unknown engine, or its packages are missing.
        ModelError: It answers otherwise than Keras.
        StorageError: An export cannot be written.
    """
    if engine == KERAS:
        return board
    path = RunFolder(run).export(f"board-{'-'.join(board.names)}", engine, formats.find(engine).suffix)
    sees = {f"{board.recommended}:{formats.EMBEDDING}": embedder(board.models[board.recommended])}
    networks = {**board.models, **sees}
    sha256 = _sha256(board, RunFolder(run))
    if not exported_model.is_export(path, engine, sha256, tuple(networks)):
        exported_model.write(networks, board.contract, sha256, engine, path, *images_of(run, board))
    return replace(board, engine=engine, runtime=exported_model.reopen(path, engine, board.contract))


def _sha256(board: Board, run: RunFolder) -> str:
    """Of the models' files, and of whose embedding it is."""
    hashes = [storage.sha256(run.model(name)) for name in board.names]
    return hashlib.sha256(" ".join([*hashes, board.recommended]).encode()).hexdigest()
