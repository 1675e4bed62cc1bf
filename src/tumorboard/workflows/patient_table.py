"""Predictions per patient, from the rows of a table of predictions per image: `predict --by`."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tumorboard import NOTICE, text_files
from tumorboard.data import class_folders, object_store
from tumorboard.data.dicom import reader as dicom
from tumorboard.data.image_reader import split_address
from tumorboard.errors import UsageError, display
from tumorboard.predictions import classes_in, neutralised
from tumorboard.workflows.prediction_table import Row, cell, shown_path

if TYPE_CHECKING:
    from tumorboard.workflows.predictor import RunPredictor

COLUMNS = (
    *("patient", "images", "unreadable", "prediction", "confidence", "prediction_set", "refer", "decided_by"),
    "method",
)


def patients_of(
    named: Sequence[Path | str], by: str, volume_of: Mapping[Path, Path] = {}
) -> Callable[[str], str]:
    """Return a function from the path of an image, as the table shows it, to its patient.

    Args:
        named: Files, folders, lists and addresses.
        by: "folder": each folder is a patient; "dicom": the PatientID, or the series where it is missing, as
            a hash; "": each volume, named after its first file; else a column of the lists.
        volume_of: The volume of each slice, see `volumes.expanded`.

    Raises:
        UsageError: An image without a patient: not in a list with this column, or no DICOM file.
    """
    if by == "folder":
        return _folder
    # By what the table shows: whether a name is that of a slice cannot be told from a name made readable.
    file_of = {shown_path(path): shown_path(volume) for path, volume in volume_of.items()}
    patient_of: dict[str, str] = {}
    if by:
        patient_of = _by_dicom(named) if by == "dicom" else _by_column(named, by)

    def patient(path: str) -> str:
        file = file_of.get(path, path)
        return patient_of.get(path) or patient_of.get(file) or file  # without a known patient its own

    return patient


def _by_dicom(named: Sequence[Path | str]) -> dict[str, str]:
    paths = [source for source in object_store.sources(named) if isinstance(source, Path)]
    groups = dicom.groups([split_address(path)[0] for path in paths])
    if not any(groups):
        raise UsageError("expected DICOM files with --by dicom, found none; use --by folder")
    return {shown_path(path): group for path, group in zip(paths, groups, strict=True)}


def _by_column(named: Sequence[Path | str], column: str) -> dict[str, str]:
    patient_of = {}
    for place in named:
        if isinstance(place, str) or place.suffix.lower() not in class_folders.LISTS:
            raise UsageError(
                f"expected a list (.csv, .tsv) with a column {display(column)!r} with --by, found "
                f"{display(place)}; or use --by folder or --by dicom"
            )
        rows = text_files.rows(text_files.read_text(place), str(place))
        header = next(rows, text_files.Row(1, [])).cells
        name = text_files.places(header, str(place), ["path"])["path"]
        patient = text_files.place_of(header, str(place), column, "--by")
        for _, cells in rows:
            path = text_files.located(place.parent, text_files.clean(cells[name]))
            patient_of[shown_path(path)] = text_files.clean(cells[patient])
    return patient_of


def _folder(path: str) -> str:
    return path.rpartition("/")[0] if "://" in path else str(Path(path).parent)


@dataclass
class Patient:
    """The rows of one patient, see `prediction_table.prediction_row`.

    Attributes:
        paths: Of the images that could be read.
        images: Of each the probabilities by model.
        unreadable: Of the others the path and the error.
    """

    paths: list[str] = field(default_factory=list)
    images: list[dict[str, list[float]]] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


def collect(rows: Iterable[Row], patient_of: Callable[[str], str]) -> dict[str, Patient]:
    """Return the rows of each patient, in the order in which they come."""
    collected: dict[str, Patient] = {}
    for row in rows:
        patient = collected.setdefault(patient_of(row["path"]), Patient())
        if row["error"]:
            patient.unreadable.append((row["path"], row["error"]))
        else:
            patient.paths.append(row["path"])
            patient.images.append(row["probabilities"])
    return collected


def write_patients(
    file: IO[bytes], predictor: "RunPredictor", rows: Path, patient_of: Callable[[str], str]
) -> int:
    """Write one row per patient as CSV, and return how many there are.

    Args:
        file: Where to write.
        predictor: The models that made the rows.
        rows: One line of JSON per image, see `prediction_table.prediction_row`.
        patient_of: From `patients_of`.
    """
    with rows.open("rb") as lines:
        collected = collect(map(json.loads, lines), patient_of)
    text = io.TextIOWrapper(file, "utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    labels = [neutralised(f"{model}:{label}") for model in predictor.names for label in predictor.class_names]
    writer.writerow([*COLUMNS, *labels, "notice"])
    for name, patient in collected.items():
        writer.writerow([neutralised(name), *_cells(predictor, patient), NOTICE])
    text.flush()
    text.detach()
    return len(collected)


def _cells(predictor: "RunPredictor", patient: Patient) -> list[Any]:
    count, unreadable, classes = len(patient.paths), len(patient.unreadable), predictor.class_names
    if not count:
        return [0, unreadable, *[""] * (len(COLUMNS) - 3 + len(classes) * len(predictor.names))]
    result = predictor.combine(patient.images)
    return [
        count,
        unreadable,
        neutralised(classes[int(result.answer.argmax())]),
        float(result.answer.max()),
        cell(classes_in(result.prediction_set, classes)),
        cell(result.refer),
        neutralised(patient.paths[int(result.contributions.argmax())]),
        result.method,
        *(value for model in predictor.names for value in result.probabilities[model].tolist()),
    ]
