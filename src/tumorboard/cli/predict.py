"""`tumorboard predict`: what a run's models say of new images."""

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tumorboard.cli.shared import add_images, command, path_or_address
from tumorboard.errors import DataError, UsageError

if TYPE_CHECKING:
    from tumorboard.pipeline.predict_files import Predicted

_SHOWN = 20  # rows; more are for the table


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    predict = command(
        commands,
        "predict",
        "write what a finished run's models say of new images, a row a file",
        "  tumorboard predict runs/first slice.png other.dcm --out predictions.csv\n"
        "  tumorboard predict runs/first scans/new/ --out new.csv --model ensemble\n"
        "  tumorboard predict runs/first list.csv --out listed.csv\n"
        "  tumorboard predict runs/first s3://bucket/scans --out stored.csv   (the extra s3)\n"
        "A file that cannot be read gets a row that says why; the exit code is 3 then.\n"
        "Repeat an interrupted command to resume it.",
        _predict,
    )
    add_images(predict, path_or_address)
    predict.add_argument(
        "--engine",
        choices=("keras", "openvino", "onnx"),
        default="keras",
        help="what the models run on; an export is made and checked on first use; default: keras",
    )
    predict.add_argument(
        "--out",
        type=Path,
        default=Path("predictions.csv"),
        metavar="FILE.csv",
        help="default: predictions.csv",
    )
    predict.add_argument(
        "--ray",
        metavar="local|ADDRESS",
        help="spread the files over this machine or a Ray cluster (the extra cluster); "
        "--out is then a folder of Parquet parts",
    )


def _predict(options: argparse.Namespace) -> None:
    if options.ray:
        _scattered(options)
        return
    from tumorboard.console import Console
    from tumorboard.pipeline.predict_files import predict_files

    done = predict_files(
        options.run_folder,
        options.images,
        options.out,
        models=options.model,
        engine=options.engine,
        console=Console(options.quiet or options.json),
    )
    sys.stdout.write(_as_json(done) if options.json else _as_text(done))
    if done.failed:
        raise DataError(
            f"{done.failed} of {done.files} files could not be read; their rows in {done.table.name} say why"
        )


def _scattered(options: argparse.Namespace) -> None:
    from tumorboard.cluster import connecting

    connecting.require()
    if options.engine != "keras" or options.out.suffix:
        raise UsageError("expected a folder as --out and no other --engine with --ray; the folder gets parts")
    from tumorboard import NOTICE
    from tumorboard.cluster.predicting import predict_scattered
    from tumorboard.console import Console

    console = Console(options.quiet or options.json)
    with connecting.connected(options.ray):
        files, failed = predict_scattered(
            options.run_folder, options.images, options.out, models=options.model, console=console
        )
    facts = {"predictions": str(options.out), "files": files, "failed": failed, "notice": NOTICE}
    said = f"{files - failed} of {files} files predicted\n{NOTICE}\nPredictions: {options.out}"
    sys.stdout.write((json.dumps(facts) if options.json else said) + "\n")
    if failed:
        raise DataError(f"{failed} of {files} files could not be read; their rows say why")


def _as_json(done: "Predicted") -> str:
    from tumorboard import NOTICE

    facts = {"files": done.files, "failed": done.failed, "recommended": done.recommended}
    return json.dumps({"predictions": str(done.table), **facts, "notice": NOTICE}) + "\n"


def _as_text(done: "Predicted") -> str:
    from tumorboard import NOTICE

    said = (
        f"{done.files - done.failed} of {done.files} files predicted; {done.recommended} speaks for the board"
    )
    lines = _rows(done.table) if done.files <= _SHOWN else []
    return "\n".join([*lines, said, NOTICE, f"Predictions: {done.table}\n"])


def _rows(table: Path) -> list[str]:
    with table.open(encoding="utf-8", newline="") as file:
        return [f"{row['path']}: {_short(row)}" for row in csv.DictReader(file)]


def _short(row: dict[str, str]) -> str:
    if row["error"]:
        return "could not be read"
    doubts = ["ask a human"] * (row["ask_a_human"] == "yes")
    doubts += ["unlike the training images"] * (row["unlike_training"] == "yes")
    return ", ".join([f"{row['answer']} ({float(row['confidence']):.0%})", *doubts])
