"""A board whose networks answer in another runtime, as one; what is not exported yet is exported first."""

import hashlib
from dataclasses import replace
from pathlib import Path

from tumorboard import storage
from tumorboard.exporting import exported, formats
from tumorboard.models.embedding import embedder
from tumorboard.pipeline.export import images_of
from tumorboard.pipeline.predict import Board
from tumorboard.runfolder import RunFolder

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
    if not exported.is_export(path, engine, sha256, tuple(networks)):
        exported.write(networks, board.contract, sha256, engine, path, *images_of(run, board))
    return replace(board, engine=engine, runtime=exported.reopen(path, engine, board.contract))


def _sha256(board: Board, run: RunFolder) -> str:
    """Of the models' files, and of whose embedding it is."""
    hashes = [storage.sha256(run.model(name)) for name in board.names]
    return hashlib.sha256(" ".join([*hashes, board.recommended]).encode()).hexdigest()
