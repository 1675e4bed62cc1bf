"""A board whose networks answer in another runtime; what is not exported yet is exported first."""

from dataclasses import replace
from pathlib import Path

from tumorboard import storage
from tumorboard.exporting import exported, formats
from tumorboard.exporting.runtimes import Engine
from tumorboard.pipeline.export import export_from
from tumorboard.pipeline.predict import Board
from tumorboard.runfolder import RunFolder

KERAS = "keras"


def on_engine(board: Board, run: Path, engine: str) -> Board:
    """The same board with its answers from `engine`: keras, openvino or onnx.

    Only heat maps stay with Keras.

    Raises:
        UsageError: An unknown engine, or its packages are missing.
        ModelError: It answers otherwise than Keras.
        StorageError: An export cannot be written.
    """
    if engine == KERAS:
        return board
    formats.find(engine)
    return replace(
        board, engine=engine, engines={name: _opened(board, run, name, engine) for name in board.names}
    )


def _opened(board: Board, run: Path, name: str, engine: str) -> Engine:
    """From RUN/exports, where the file is of the run's model and undamaged; exported there otherwise."""
    folder = RunFolder(run)
    path = folder.export(name, engine, formats.find(engine).suffix)
    if not exported.is_export(path, engine, storage.sha256(folder.model(name))):
        export_from(board, run, name, engine, path)
    return exported.reopen(path, engine, board.contract)
