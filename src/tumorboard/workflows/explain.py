"""Pictures of where a run's models look, beside a table of what they say there."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tumorboard import NOTICE, progress, storage
from tumorboard.data import class_folders
from tumorboard.data.pixels import Pixels
from tumorboard.errors import DataError
from tumorboard.explain import gradcam, occlusion
from tumorboard.explain.overlay import overlay
from tumorboard.explain.sanity_check import correlation_after_shuffling
from tumorboard.models.inference import probabilities
from tumorboard.predictions import neutralised
from tumorboard.progress import Console
from tumorboard.workflows.predictor import RunPredictor, load_run

COLUMNS = ("path", "model", "part", "class", "probability", "picture", "error", "notice")


@dataclass(frozen=True)
class Explained:
    """What came of it.

    Attributes:
        folder: Where the pictures and maps.csv lie.
        pictures: How many there are.
        failed: Files that could not be read; maps.csv says why.
        likeness: By model, how alike its first map is to that of shuffled weights; near 1 is a warning.
    """

    folder: Path
    pictures: int
    failed: int
    likeness: dict[str, float]


def explain(
    run: Path,
    sources: Sequence[Path],
    out: Path,
    *,
    models: Sequence[str] = (),
    target: str = "",
    method: str = "gradcam",
    console: Console | None = None,
) -> Explained:
    """Write an overlay for every file and model, and for each member of an ensemble, and maps.csv.

    Args:
        run: A finished run.
        sources: Files, folders, CSVs with a column `path`.
        out: A folder; pictures of the same names are replaced.
        models: Of the run; all by default.
        target: The class to explain; by default what each model answers.
        method: "gradcam"; or "occlusion", which is slower, asks for no gradient, and has no maps of members.
        console: Where progress is shown; quiet by default.

    Raises:
        DataError: Nothing to explain, or an unknown class. A bad image is no error here.
        UsageError, RunFolderError, ModelError, StorageError, Interrupted: As `predict_files`.
    """
    console = console or Console(quiet=True)
    total = sum(1 for _ in class_folders.files(sources))
    if not total:
        raise DataError(f"expected images in {storage.shown(sources[0])}, found no file; check the path")
    rows: list[list[str]] = []
    likeness: dict[str, float] = {}
    with progress.graceful(), console.task("explaining") as update:
        predictor = load_run(run, models)
        chosen = _class(predictor, target)
        for number, path in enumerate(class_folders.files(sources), start=1):
            progress.stop_if_asked()
            try:
                pixels = predictor.read(path)
                likeness = likeness or _likeness(predictor, pixels)
                stem = f"{number:0{len(str(total))}d}-{path.stem[:60]}"
                rows += _maps(predictor, path, pixels, out / stem, chosen, method)
            except DataError as error:
                rows.append([str(path), "", "", "", "", "", str(error), NOTICE])
            update(number, total)
        storage.write_text(out / "maps.csv", _table(rows))
    failed = sum(bool(row[6]) for row in rows)
    return Explained(out, len(rows) - failed, failed, likeness)


def _class(predictor: RunPredictor, target: str) -> int | None:
    if target and target not in predictor.class_names:
        raise DataError(f"expected a class ({', '.join(predictor.class_names)[:150]}), found {target[:60]!r}")
    return predictor.class_names.index(target) if target else None


def _likeness(predictor: RunPredictor, pixels: Pixels) -> dict[str, float]:
    return {
        name: correlation_after_shuffling(model, pixels, _answer(predictor, name, pixels)[0])
        for name, model in predictor.models.items()
    }


def _answer(predictor: RunPredictor, name: str, pixels: Pixels) -> tuple[int, np.ndarray]:
    row = probabilities(predictor.models[name], pixels[None])[0]
    return int(row.argmax()), row


def _maps(
    predictor: RunPredictor, path: Path, pixels: Pixels, stem: Path, chosen: int | None, method: str
) -> list[list[str]]:
    rows = []
    for name, model in predictor.models.items():
        answer, row = _answer(predictor, name, pixels)
        target = answer if chosen is None else chosen
        found = {"": (gradcam if method == "gradcam" else occlusion).heat_map(model, pixels, target)}
        if method == "gradcam":
            members = gradcam.member_heat_maps(model, pixels, target)
            found |= {part: heat for part, heat in members.items() if part != name}
        for part, heat in found.items():
            picture = stem.with_name(f"{stem.name}-{part or name}.png")
            storage.write_bytes(picture, _png(overlay(pixels, heat)))
            said = "" if part else repr(float(row[target]))  # a member's own is not in this row
            told = [str(path), name, part, predictor.class_names[target], said, picture.name]
            rows.append([*told, "", NOTICE])
    return rows


def _png(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def _table(rows: list[list[str]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([neutralised(cell) for cell in row] for row in rows)
    return text.getvalue()
