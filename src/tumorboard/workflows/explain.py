"""Explain a run's predictions: heat maps as overlays, one per file and model, and a table of them."""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tumorboard import NOTICE, progress, run_folder, storage, text_files
from tumorboard.config import Frames
from tumorboard.data import object_store
from tumorboard.data.class_matching import composed
from tumorboard.data.image_reader import split_address
from tumorboard.data.left_out import LeftOut, nothing_to_read, png_notice, require_replaceable
from tumorboard.data.pixels import Pixels
from tumorboard.errors import DataError, UsageError, display
from tumorboard.predictions import neutralised
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder, read_json
from tumorboard.workflows.patient_table import Patient, collect, patients_of
from tumorboard.workflows.prediction_table import Row, prediction_row, shown_path
from tumorboard.workflows.predictor import KERAS, ONNX, RunPredictor, frames_of_training, load_run

COLUMNS = ("path", "model", "member", "class", "probability", "overlay", "error", "notice")
CONTRIBUTION_COLUMNS = (
    *("patient", "patient_prediction", "patient_confidence", "method", "rank", "path", "prediction"),
    *("confidence", "contribution", "error", "notice"),
)
TOP = 3
"""Images of a patient that get heat maps, by default."""
_LONGEST_STEM = 100  # bytes; the names of a model and a member follow it


@dataclass(frozen=True)
class Explained:
    """The result of `explain`.

    Attributes:
        folder: Holds the overlays and maps.csv.
        overlays: How many there are.
        failed: How many files could not be read; maps.csv holds the reasons.
        left_out: What in the folders is no input.
        contributions: The table of how much each image contributed to its patient's prediction; None unless
            it was asked for.
        correlations: By model, the rank correlation of the first image's map with that of the model after
            its weights were shuffled; near 1 is a warning.
    """

    folder: Path
    overlays: int
    failed: int
    left_out: tuple[LeftOut, ...]
    correlations: dict[str, float]
    contributions: Path | None = None


def explain(
    run: str | Path,
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    models: Sequence[str] = (),
    target: str = "",
    method: str = "gradcam",
    by: str = "",
    top: int | None = None,
    frames: Frames | None = None,
    console: Console | None = None,
) -> Explained:
    """Write an overlay per file and model, one per member of an ensemble, and maps.csv.

    Args:
        run: A finished run.
        sources: Files, folders, CSVs with a column `path`.
        out: A folder; overlays of the same images are replaced.
        models: Of the run; all by default.
        target: The class to explain; by default the class that each model predicts.
        method: "gradcam"; or "occlusion", which is slower, needs no gradient, and makes no maps of members.
        by: As for `predict_files`: explain the patients' predictions by the images that contribute most, and
            write contributions.csv.
        top: How many of each patient's images get maps, by default `TOP`.
        frames: The slices of volumes that are explained; None for those of the training.
        console: Where progress is shown; quiet by default.

    Raises:
        DataError: Nothing to explain, or an unknown class. A bad image is no error here.
        UsageError: `top` without `by`, or below 1.
        UsageError: `out` holds maps of other images, or files of somebody else.
        UsageError, RunFolderError, ModelError, StorageError, Interrupted: As `predict_files`.
    """
    out, console = Path(out), console or Console(quiet=True)
    images, table, left_out = [Path(source) for source in sources], out / "maps.csv", list[LeftOut]()
    folder, target = RunFolder(Path(run)), composed(target)
    hashes = run_folder.read_checksums(folder)
    names, _ = run_folder.select_models(folder, hashes, models)
    class_names = read_json(folder.model_spec(names[0])).get("class_names", [])
    if target and target not in class_names:
        raise DataError(f"expected a class ({', '.join(class_names)[:150]}), found {target[:60]!r}")
    object_store.require_existing(images)
    contributions = out / "contributions.csv" if by else None
    for file in filter(None, (table, contributions)):
        require_replaceable(file)
    if top is not None and (top < 1 or not by):
        raise UsageError("expected --top of 1 or more, with --by; correct it, or leave it out")
    if frames is None:
        frames = frames_of_training(folder, hashes)
    volume_of: dict[Path, Path] = {}
    listed = object_store.sources(images, left_out, frames, volume_of)
    paths = [path for path in listed if isinstance(path, Path)]
    if not paths:
        raise nothing_to_read(images, left_out)
    _require_same_images(table, paths)
    patient_of = patients_of(images, by, volume_of)
    storage.require_writable(out)
    with progress.graceful():
        predictor = load_run(run, models, engine=ONNX if by else KERAS)
        digits = len(str(len(paths)))
        chosen = [(path, f"{number:0{digits}d}", target) for number, path in enumerate(paths, start=1)]
        if contributions:
            collected = collect(_predicted(predictor, paths, console), patient_of)
            explained, parts = _by_contribution(predictor, collected, target, top or TOP)
            storage.write_text(contributions, _table(CONTRIBUTION_COLUMNS, parts))
            file_of = {shown_path(path): path for path in paths}
            chosen = [(file_of[name], prefix, label) for name, prefix, label in explained]
        overlays, failed, correlations = _write_maps(predictor, chosen, table, method, console)
    return Explained(out, overlays, failed, tuple(left_out), correlations, contributions)


def _write_maps(
    predictor: RunPredictor,
    chosen: Sequence[tuple[Path, str, str]],
    table: Path,
    method: str,
    console: Console,
) -> tuple[int, int, dict[str, float]]:
    """Write the overlays of images beside a table of them, which is written after a stop or an error too.

    Args:
        predictor: The models.
        chosen: For each image its path, the beginning of the overlays' names, and the class to explain.
        table: The CSV.
        method: As for `explain`.
        console: Where progress is shown.

    Returns:
        The numbers of overlays and of files that cannot be read, and the correlations of the first image.
    """
    rows: list[list[str]] = []
    failed, correlations = 0, dict[str, float]()
    try:
        with console.task("explaining") as update:
            for done, (path, prefix, label) in enumerate(chosen, start=1):
                progress.stop_if_asked()
                try:
                    pixels, notes = predictor.read_with_notes(path)
                except DataError as error:
                    failed += 1
                    rows.append([str(path), "", "", "", "", "", str(error), NOTICE])
                else:
                    for note in notes:
                        console.print(note)
                    correlations = correlations or _correlations(predictor, pixels)
                    stem = table.with_name(f"{prefix}-{_shortened(_stem(path))}")
                    for row in _write_overlays(predictor, pixels, stem, label, method):
                        rows.append([str(path), *row, "", NOTICE])
                update(done, len(chosen))
    finally:
        if rows:
            storage.write_text(table, _table(COLUMNS, rows))
    return len(rows) - failed, failed, correlations


def _predicted(predictor: RunPredictor, paths: Sequence[Path], console: Console) -> Iterator[Row]:
    with console.task("predicting") as update:
        for number, path in enumerate(paths, start=1):
            progress.stop_if_asked()
            yield prediction_row(predictor, path)
            update(number, len(paths))


def _by_contribution(
    predictor: RunPredictor, collected: Mapping[str, Patient], target: str, top: int
) -> tuple[list[tuple[str, str, str]], list[list[str]]]:
    """Order the images of each patient by their contribution to the patient's prediction.

    Returns:
        The first of each patient, and those that cannot be read: path, beginning of the names of the maps,
        class to explain; and the rows of contributions.csv.
    """
    chosen, rows, digits = [], [], len(str(len(collected)))
    for number, (name, patient) in enumerate(collected.items(), start=1):
        if patient.images:
            result = predictor.combine(patient.images)
            label = predictor.class_names[int(result.answer.argmax())]
            joint = [name, label, repr(float(result.answer.max())), result.method]
            order = np.argsort(-result.contributions, kind="stable").tolist()
            for rank, index in enumerate(order, start=1):
                path, contribution = patient.paths[index], repr(float(result.contributions[index]))
                own = predictor.combine([patient.images[index]]).answer
                cells = [predictor.class_names[int(own.argmax())], repr(float(own.max())), contribution]
                rows.append([*joint, str(rank), path, *cells, "", NOTICE])
                if rank <= top:
                    chosen.append((path, f"{number:0{digits}d}-{rank}", target or label))
        for path, error in patient.unreadable:
            rows.append([name, "", "", "", "", path, "", "", "", error, NOTICE])
            chosen.append((path, "", ""))
    return chosen, rows


def _require_same_images(table: Path, paths: Iterable[Path]) -> None:
    """Check that a table of earlier maps names none of other images: it would be replaced."""
    if not table.is_file():
        return
    header, *rows = text_files.rows(text_files.read_text(table), str(table))
    place = text_files.places(header.cells, str(table), ["path"])["path"]
    explained = {row.cells[place] for row in rows}
    others = explained - {neutralised(str(path)) for path in paths}
    if others:
        raise UsageError(
            f"expected --out without heat maps of other images, found those of {display(min(others))} in "
            f"{display(table)}; choose another --out"
        )


def _correlations(predictor: "RunPredictor", pixels: Pixels) -> dict[str, float]:
    """By model, compare the map of its prediction with that of the model after its weights were shuffled."""
    from tumorboard.explain import gradcam
    from tumorboard.models.inference import probabilities

    predicted = {
        name: int(probabilities(model, pixels[None])[0].argmax()) for name, model in predictor.models.items()
    }
    return {
        name: gradcam.correlation_after_shuffling(model, pixels, predicted[name])
        for name, model in predictor.models.items()
    }


def _stem(path: Path) -> str:
    """Return the name of a file without its suffix, and the number of a slice."""
    file, number = split_address(path)
    return f"{file.stem}-slice{number}" if number else file.stem


def _shortened(stem: str) -> str:
    """Cut a file's name so that the name of an overlay is not too long for the disk."""
    return os.fsencode(stem)[:_LONGEST_STEM].decode("utf-8", "ignore")


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([neutralised(cell) for cell in row] for row in rows)
    return text.getvalue()


def _write_overlays(
    predictor: "RunPredictor", pixels: Pixels, stem: Path, target: str, method: str
) -> Iterator[list[str]]:
    """Write the overlays of one image, and yield for each the columns from `model` to `overlay`."""
    from tumorboard.explain import gradcam, occlusion
    from tumorboard.explain.overlay import overlay
    from tumorboard.models.inference import probabilities

    for name, model in predictor.models.items():
        row = probabilities(model, pixels[None])[0]
        label = predictor.class_names.index(target) if target else int(row.argmax())
        heat_map = (gradcam if method == "gradcam" else occlusion).heat_map
        maps = {"": heat_map(model, pixels, label)}
        if method == "gradcam":
            members = gradcam.member_heat_maps(model, pixels, label)
            maps |= {member: heat for member, heat in members.items() if member != name}
        for member, heat in maps.items():
            file = io.BytesIO()
            Image.fromarray(overlay(pixels, heat)).save(file, "png", pnginfo=png_notice())
            path = stem.with_name(f"{stem.name}-{member or name}.png")
            require_replaceable(path)
            storage.write_bytes(path, file.getvalue())
            probability = "" if member else repr(float(row[label]))  # `row` is of the whole model
            yield [name, member, predictor.class_names[label], probability, path.name]
