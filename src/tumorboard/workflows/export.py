"""Export models of a run to other runtimes, each checked against Keras on the run's own images."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tumorboard import config, progress, run_folder
from tumorboard.data.image_reader import read_input
from tumorboard.data.manifest import Sample
from tumorboard.data.pixels import Pixels
from tumorboard.errors import DataError, ModelError, RunFolderError, UsageError
from tumorboard.export import exported_model, formats
from tumorboard.export.exported_model import ExportCheck
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder
from tumorboard.workflows.predictor import ONNX, embedding_output, joint_networks, load_networks
from tumorboard.workflows.run_context import read_manifest

if TYPE_CHECKING:  # Keras, seconds to import
    from tumorboard.models.model_spec import LoadedModel

IMAGES = 32
"""How many images an export is compared on."""

ALL = "all"
"""Stands for all models of a run, in one file: its joint graph."""


@dataclass(frozen=True)
class Export:
    """An exported model: its file or folder, and the comparison with Keras."""

    path: Path
    check: ExportCheck


def export(run: str | Path, model: str, format_name: str, out: str | Path | None = None) -> Export:
    """Write a model of a finished run in another format; it is kept only if it predicts as Keras does.

    Args:
        run: The run folder.
        model: Its name, such as "ensemble"; or "all" to make the run's joint graph again.
        format_name: onnx, openvino, litert, or saved-model.
        out: The file; by default RUN/exports/FORMAT/MODEL with the suffix.

    Raises:
        UsageError: An unknown model or format, missing packages, or an unusable `out`.
        RunFolderError: No finished run.
        ModelError: The run's model is damaged, or the export's predictions differ from those of Keras.
        StorageError: The disk is full or not writable.
    """
    if model == ALL and (format_name != ONNX or out):
        raise UsageError("expected --format onnx and no --out with --model all: the file belongs to the run")
    folder, target = RunFolder(Path(run)), formats.find(format_name)
    hashes = run_folder.read_checksums(folder)
    names, recommended = run_folder.select_models(folder, hashes, () if model == ALL else (model,))
    path = (
        folder.joint_graph if model == ALL else Path(out or folder.export(model, format_name, target.suffix))
    )
    exported_model.check_path(path, format_name)
    with progress.graceful():
        loaded = load_networks(folder, hashes, names)
        if model == ALL:
            return Export(path, write_joint_graph(folder, loaded, recommended))
        network, spec = loaded[model]
        networks = {"probabilities": network}
        if target.embeds:
            from tumorboard.models.model_spec import embedding_model

            networks[formats.EMBEDDING] = embedding_model(network)
        sha256, images = hashes[f"{model}.keras"], comparison_images(folder, spec.image)
        check = exported_model.export_checked(networks, spec, sha256, format_name, path, *images)
    return Export(path, check)


def write_joint_graph(run: RunFolder, models: "Mapping[str, LoadedModel]", recommended: str) -> ExportCheck:
    """Write all networks of a run as one graph that computes shared layers once, and its hash.

    Raises:
        UsageError, ModelError, StorageError: As `export`.
    """
    formats.find(ONNX)
    (_, first), *_ = models.values()
    spec = replace(first, name=ALL, kind="joint graph", details={})
    networks = joint_networks({name: network for name, (network, _) in models.items()}, recommended)
    sha256 = run_folder.digest_of_networks(run_folder.read_checksums(run), tuple(models))
    path, images = run.joint_graph, comparison_images(run, spec.image)
    check = exported_model.export_checked(networks, spec, sha256, ONNX, path, *images)
    run_folder.write_checksums(run, path, exported_model.record_path(path))
    return check


def add_joint_graph(
    run: RunFolder,
    models: "Mapping[str, LoadedModel]",
    names: Sequence[str],
    recommended: str,
    console: Console,
) -> None:
    """Write the joint graph of a run that is being finished, unless it is there.

    A run is finished without one, too, if the graph cannot be made: Keras predicts then.

    Args:
        run: Its models and their hashes are written.
        models: Those that are in memory; if one is missing, all are loaded.
        names: Of all its models.
        recommended: One of them.
        console: Shows why there is no graph.

    Raises:
        StorageError: The disk is full or not writable.
    """
    hashes = run_folder.read_checksums(run)
    outputs, sha256 = (*names, embedding_output(recommended)), run_folder.digest_of_networks(hashes, names)
    try:
        if not exported_model.is_export(run.joint_graph, ONNX, sha256, outputs):
            in_memory = len(models) == len(names)
            write_joint_graph(run, models if in_memory else load_networks(run, hashes, names), recommended)
    except (ModelError, UsageError) as error:
        console.print(f"no joint graph, so that predict starts more slowly: {error}")


def comparison_images(run: RunFolder, settings: config.Image) -> tuple[Pixels, bool]:
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
            images.append(read_input(sample.path, settings))
    if images:
        return np.stack(images), True
    size = settings.size
    return np.random.default_rng(0).integers(0, 256, (IMAGES, size, size, 3), np.uint8), False
