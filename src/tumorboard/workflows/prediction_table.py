"""Predictions of files as rows of plain values, and those as CSV or Parquet; columns: docs/predict.md."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tumorboard import NOTICE, storage
from tumorboard.data import object_store
from tumorboard.data.image_reader import split_address, unusable
from tumorboard.data.object_store import Opened, Remote, Source
from tumorboard.errors import DataError
from tumorboard.predictions import classes_in, neutralised
from tumorboard.run_folder import RunFolder

if TYPE_CHECKING:
    from tumorboard.workflows.predictor import ImagePrediction, RunPredictor

Row = dict[str, Any]

COLUMNS = (
    "path",
    "sha256",
    "prediction",
    "confidence",
    "prediction_set",
    "refer",
    "out_of_distribution",
    "notes",
    "error",
)


def prediction_row(predictor: "RunPredictor", source: Source) -> Row:
    """Predict a file, or record why it could not be read.

    If it could not be read now, but may be later, the row holds the key `again` as well.
    """
    row: Row = dict.fromkeys(COLUMNS, None) | {
        "path": shown_path(source),
        "sha256": "",
        "notes": "",
        "error": "",
    }
    try:
        with object_store.opened(source) as file:
            row["sha256"] = sha256_of(file)
            content = file if isinstance(source, Remote) or not is_slice(source) else source
            pixels, notes = predictor.read_with_notes(content, str(source))
    except DataError as error:
        return row | {"error": str(error)}
    except OSError as error:
        reason = unusable(str(source), f"a file that cannot be read ({error.strerror})")
        return row | {"error": str(reason), "again": True}
    return row | {"notes": "; ".join(notes)} | plain_values(predictor, predictor.predict(pixels))


def plain_values(predictor: "RunPredictor", prediction: "ImagePrediction") -> Row:
    """Return a prediction as plain values: class, confidence, set, flags, and probabilities by model."""
    row = prediction.calibrated
    row = prediction.probabilities[predictor.recommended] if row is None else row
    names = predictor.class_names
    return {
        "prediction": names[int(row.argmax())],
        "confidence": float(row.max()),
        "prediction_set": classes_in(prediction.prediction_set, names),
        "refer": prediction.refer,
        "out_of_distribution": prediction.out_of_distribution,
        "probabilities": {name: values.tolist() for name, values in prediction.probabilities.items()},
    }


def sha256_of(file: Opened) -> str:
    """Hash an open file, hex."""
    return hashlib.file_digest(file, "sha256").hexdigest()


def is_slice(source: Source) -> bool:
    """Return whether this is the address of a volume's slice."""
    return isinstance(source, Path) and split_address(source)[1] > 0


def shown_path(source: Source) -> str:
    """Return a path or an address as text that UTF-8 holds."""
    return str(source).encode("utf-8", "backslashreplace").decode("utf-8")


def digest_of(run: RunFolder, request: str) -> "hashlib._Hash":
    """Hash what predictions depend on beside images: the run's models, calibration, metrics; the request."""
    digest = hashlib.sha256(request.encode())
    for file in (run.checksums, run.calibration, run.metrics):
        digest.update(file.read_bytes() if file.is_file() else b"none")
    return digest


def write_csv(file: IO[bytes], predictor: "RunPredictor", rows: Path) -> None:
    """Write rows, one line of JSON each, as CSV."""
    text = io.TextIOWrapper(file, "utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    models, classes = predictor.names, predictor.class_names
    writer.writerow(
        [*COLUMNS, *(neutralised(f"{model}:{label}") for model in models for label in classes), "notice"]
    )
    with rows.open("rb") as lines:
        for line in lines:
            row = json.loads(line)
            values = row.get("probabilities") or {model: [""] * len(classes) for model in models}
            probabilities = [value for model in models for value in values[model]]
            writer.writerow([*(cell(row[name]) for name in COLUMNS), *probabilities, NOTICE])
    text.flush()
    text.detach()


def cell(value: Any) -> Any:
    """Return text that is empty where nothing is known, and that no spreadsheet executes."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        value = " | ".join(value) or "(none)"  # an empty prediction set; an empty cell means not known
    return neutralised(value) if isinstance(value, str) else value


def write_parquet(
    path: Path, predictor: "RunPredictor", rows: Sequence[Row], metadata: Mapping[str, str]
) -> None:
    """Write rows as Parquet, atomically, with the notice in the file's metadata."""
    import pyarrow
    from pyarrow import parquet

    kinds = {"confidence": pyarrow.float64(), "refer": pyarrow.bool_()}
    kinds |= {"out_of_distribution": pyarrow.bool_(), "prediction_set": pyarrow.list_(pyarrow.string())}
    columns = {
        name: pyarrow.array([row[name] for row in rows], kinds.get(name, "string")) for name in COLUMNS
    }
    for model in predictor.names:
        for number, label in enumerate(predictor.class_names):
            values = [
                row["probabilities"][model][number] if row.get("probabilities") else None for row in rows
            ]
            columns[f"{model}:{label}"] = pyarrow.array(values, "float64")
    content = pyarrow.table(columns).replace_schema_metadata({"notice": NOTICE, **metadata})
    with storage.replacing(path) as temporary:
        parquet.write_table(content, temporary)
