"""Export models of a run to other runtimes, each checked against Keras on the run's own images."""

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tumorboard import progress, run_folder, storage
from tumorboard.data.manifest import Sample
from tumorboard.data.pixels import Pixels
from tumorboard.errors import DataError, RunFolderError, UsageError
from tumorboard.export import exported_model, formats
from tumorboard.export.exported_model import ExportCheck
from tumorboard.run_folder import RunFolder
from tumorboard.workflows.run_context import read_manifest

if TYPE_CHECKING:
    from tumorboard.workflows.predictor import RunPredictor

IMAGES = 32
"""How many images an export is compared on."""

KERAS = "keras"
ENGINES = (KERAS, "openvino", "onnx")
"""The runtimes that can compute a run's predictions."""


@dataclass(frozen=True)
class Export:
    """An exported model: its file or folder, and the comparison with Keras."""

    path: Path
    check: ExportCheck


def export(run: str | Path, model: str, format_name: str, out: str | Path | None = None) -> Export:
    """Write a model of a finished run in another format; it is kept only if it predicts as Keras does.

    Args:
        run: The run folder.
        model: Its name, such as "ensemble".
        format_name: onnx, openvino, litert, or saved-model.
        out: The file; by default RUN/exports/FORMAT/MODEL with the suffix.

    Raises:
        UsageError: An unknown model or format, missing packages, or an unusable `out`.
        RunFolderError: No finished run.
        ModelError: The run's model is damaged, or the export's predictions differ from those of Keras.
        StorageError: The disk is full or not writable.
    """
    folder, target = RunFolder(Path(run)), formats.find(format_name)
    path = Path(out) if out else folder.export(model, format_name, target.suffix)
    run_folder.select_models(folder, run_folder.read_checksums(folder), (model,))
    exported_model.check_path(path, format_name)
    with progress.graceful():
        from tumorboard.models.model_spec import embedding_model  # Keras, seconds to import
        from tumorboard.workflows.predictor import load_run

        predictor = load_run(run, (model,))
        networks = {"probabilities": predictor.models[model]}
        if target.embeds:
            networks[formats.EMBEDDING] = embedding_model(predictor.models[model])
        sha256, images = storage.sha256(folder.model(model)), comparison_images(folder, predictor)
        check = exported_model.export_checked(networks, predictor.spec, sha256, format_name, path, *images)
    return Export(path, check)


def check_engine(engine: str) -> None:
    """Raise UsageError for an unknown engine, or one whose packages are missing; needs no Keras."""
    if engine not in ENGINES:
        raise UsageError(f"expected an engine ({', '.join(ENGINES)}), found {engine[:40]!r}")
    if engine != KERAS:
        formats.find(engine)


def on_engine(predictor: "RunPredictor", run: Path, engine: str) -> "RunPredictor":
    """Return the predictor with its predictions computed by `engine`, one of `ENGINES`; heat maps need Keras.

    The export lies in RUN/exports; it is made again unless it is undamaged and of the same models.

    Raises:
        UsageError: An unknown engine, or its packages are missing.
        ModelError: Its predictions differ from those of Keras.
        StorageError: An export cannot be written.
    """
    check_engine(engine)
    if engine == KERAS:
        return predictor
    from tumorboard.models.model_spec import embedding_model

    folder, recommended = RunFolder(run), predictor.recommended
    path = folder.export(f"models-{'-'.join(predictor.names)}", engine, formats.find(engine).suffix)
    embedding = {f"{recommended}:{formats.EMBEDDING}": embedding_model(predictor.models[recommended])}
    networks = {**predictor.models, **embedding}
    hashes = [storage.sha256(folder.model(name)) for name in predictor.names]
    sha256 = hashlib.sha256(" ".join([*hashes, recommended]).encode()).hexdigest()
    if not exported_model.is_export(path, engine, sha256, tuple(networks)):
        images = comparison_images(folder, predictor)
        exported_model.export_checked(networks, predictor.spec, sha256, engine, path, *images)
    runtime = exported_model.open_exported(path, engine, predictor.spec)
    return replace(predictor, engine=engine, runtime=runtime)


def comparison_images(run: RunFolder, predictor: "RunPredictor") -> tuple[Pixels, bool]:
    """Return at most `IMAGES` of train and validation, and True; random ones, and False, if none is left."""
    samples: Sequence[Sample] = ()
    with contextlib.suppress(DataError, RunFolderError, ValueError, TypeError):
        samples = read_manifest(run).samples
    images: list[Pixels] = []
    # Ordered by hash, so that classes and splits mix; test images are not opened.
    for sample in sorted((s for s in samples if s.split != "test"), key=lambda s: s.sha256):
        if len(images) == IMAGES:
            break
        progress.stop_if_asked()
        with contextlib.suppress(DataError, OSError):
            images.append(predictor.read(sample.path))
    if images:
        return np.stack(images), True
    size = predictor.image.size
    return np.random.default_rng(0).integers(0, 256, (IMAGES, size, size, 3), np.uint8), False
