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
from tumorboard.export.exported_model import ExportCheck
from tumorboard.models import saving
from tumorboard.models.model_spec import embedding_model
from tumorboard.run_folder import RunFolder
from tumorboard.workflows.predictor import RunPredictor, load_run
from tumorboard.workflows.run_context import read_manifest

IMAGES = 32
"""How many images an export is compared on."""


@dataclass(frozen=True)
class Export:
    """What came of it: the file, or folder, and how it compared with Keras."""

    path: Path
    check: ExportCheck


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
        return export_from(load_run(run, (model,)), run, model, format_name, path)


def export_from(predictor: RunPredictor, run: Path, model: str, format_name: str, path: Path) -> Export:
    """As `export`, of a board that is open."""
    network = {"probabilities": predictor.models[model]}
    if formats.find(format_name).embeds:
        network[formats.EMBEDDING] = embedding_model(predictor.models[model])
    file = RunFolder(run).model(model)
    spec, sha256 = saving.read_spec(file), storage.sha256(file)
    check = exported_model.export_checked(
        network, spec, sha256, format_name, path, *images_of(run, predictor)
    )
    return Export(path, check)


def images_of(run: Path, predictor: RunPredictor) -> tuple[Pixels, bool]:
    """Images of train and validation, spread over both; random ones, and False, where these are gone."""
    found = list(islice(_readable(_samples(RunFolder(run)), predictor), IMAGES))
    if found:
        return np.stack(found), True
    size = predictor.image.size
    return np.random.default_rng(0).integers(0, 256, (IMAGES, size, size, 3), np.uint8), False


def _samples(run: RunFolder) -> Sequence[Sample]:
    """In an order of their own, so that classes and parts mix; test stays closed."""
    try:
        found = read_manifest(run).samples
    except (DataError, RunFolderError, ValueError, TypeError):
        return ()
    return sorted((one for one in found if one.split != "test"), key=lambda one: one.sha256)


def _readable(samples: Sequence[Sample], predictor: RunPredictor) -> Iterator[Pixels]:
    for sample in samples:
        progress.stop_if_asked()
        with contextlib.suppress(DataError, OSError):
            yield predictor.read(sample.path)


KERAS = "keras"


def on_engine(predictor: RunPredictor, run: Path, engine: str) -> RunPredictor:
    """The same board with its answers from `engine`: keras, openvino or onnx.

    Only heat maps stay with Keras. The export lies in RUN/exports; it is made again unless it is of the
    run's models and undamaged.

    Raises:
        UsageError: An unknown engine, or its packages are missing.
        ModelError: It answers otherwise than Keras.
        StorageError: An export cannot be written.
    """
    if engine == KERAS:
        return predictor
    path = RunFolder(run).export(f"models-{'-'.join(predictor.names)}", engine, formats.find(engine).suffix)
    sees = {
        f"{predictor.recommended}:{formats.EMBEDDING}": embedding_model(
            predictor.models[predictor.recommended]
        )
    }
    networks = {**predictor.models, **sees}
    sha256 = _sha256(predictor, RunFolder(run))
    if not exported_model.is_export(path, engine, sha256, tuple(networks)):
        exported_model.export_checked(
            networks, predictor.spec, sha256, engine, path, *images_of(run, predictor)
        )
    return replace(
        predictor, engine=engine, runtime=exported_model.open_exported(path, engine, predictor.spec)
    )


def _sha256(predictor: RunPredictor, run: RunFolder) -> str:
    """Of the models' files, and of whose embedding it is."""
    hashes = [storage.sha256(run.model(name)) for name in predictor.names]
    return hashlib.sha256(" ".join([*hashes, predictor.recommended]).encode()).hexdigest()
