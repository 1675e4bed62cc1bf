"""`tumorboard export`: a model for another runtime."""

import argparse
import json
import sys
from pathlib import Path

from tumorboard import NOTICE
from tumorboard.cli.shared import command

FORMATS = ("onnx", "openvino", "litert", "saved-model")


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    export = command(
        commands,
        "export",
        "write a finished run's model for another runtime, and keep it only if it answers as Keras does",
        "  tumorboard export runs/first --model ensemble --format onnx\n"
        "  tumorboard export runs/first --format litert --out phone/ensemble.tflite\n"
        "The file takes raw pixels, 0-255 RGB; beside it <file>.json says what else it expects.",
        _export,
    )
    export.add_argument("run_folder", type=Path, metavar="RUN", help="the folder of a finished run")
    export.add_argument("--model", default="ensemble", metavar="NAME", help="default: ensemble")
    export.add_argument("--format", required=True, choices=FORMATS, help="what it is for")
    export.add_argument(
        "--out", type=Path, metavar="FILE", help="default: RUN/exports/FORMAT/MODEL with the format's suffix"
    )


def _export(options: argparse.Namespace) -> None:
    from tumorboard.pipeline.export import export

    done = export(options.run_folder, options.model, options.format, options.out)
    told = {"images": done.check.images, "real": done.check.real, "differences": dict(done.check.differences)}
    if options.json:
        sys.stdout.write(json.dumps({"export": str(done.path), **told, "notice": NOTICE}) + "\n")
        return
    kind = "images of the run" if done.check.real else "random images, for the run's own are gone"
    differences = ", ".join(f"{name} {value:.1e}" for name, value in done.check.differences.items())
    sys.stdout.write(
        f"{options.model} as {options.format}: largest difference from Keras: {differences}; "
        f"on {done.check.images} {kind}\n{NOTICE}\nExport: {done.path}\n"
    )
