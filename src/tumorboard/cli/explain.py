"""`tumorboard explain`: where a run's models look."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tumorboard import NOTICE
from tumorboard.cli.shared import add_images, command

if TYPE_CHECKING:
    from tumorboard.pipeline.explain import Explained


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    explain = command(
        commands,
        "explain",
        "write pictures of where a finished run's models look, an overlay a file and model",
        "  tumorboard explain runs/first slice.png --out maps\n"
        "  tumorboard explain runs/first scans/new/ --out maps --model ensemble --class normal\n"
        "A hot place speaks for the class; what it means is for a radiologist to judge.",
        _explain,
    )
    add_images(explain)
    explain.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="pictures and maps.csv go here"
    )
    explain.add_argument(
        "--class", dest="target", default="", metavar="NAME", help="default: each model's answer"
    )
    explain.add_argument(
        "--method",
        choices=("gradcam", "occlusion"),
        default="gradcam",
        help="occlusion hides parts of the image: slower, without any gradient, a check of the other",
    )


def _explain(options: argparse.Namespace) -> None:
    from tumorboard.console import Console
    from tumorboard.errors import DataError
    from tumorboard.pipeline.explain import explain

    done = explain(
        options.run_folder,
        options.images,
        options.out,
        models=options.model,
        target=options.target,
        method=options.method,
        console=Console(options.quiet or options.json),
    )
    sys.stdout.write(_as_json(done) if options.json else _as_text(done))
    if done.failed:
        raise DataError(f"{done.failed} files could not be read; their rows in maps.csv say why")


def _as_json(done: "Explained") -> str:
    return json.dumps({**asdict(done), "folder": str(done.folder), "notice": NOTICE}) + "\n"


def _as_text(done: "Explained") -> str:
    lines = [
        f"{name}: with shuffled weights the map is {_likeness(value)} (rank correlation {value:.2f})"
        for name, value in done.likeness.items()
    ]
    return "\n".join([*lines, NOTICE, f"Maps: {done.folder} ({done.pictures} pictures, maps.csv)\n"])


def _likeness(value: float) -> str:
    if value == 0:  # see `likeness_when_shuffled`
        return "flat, or the model's own is, which proves nothing"
    return (
        "almost the same, so it shows the image more than what was learned" if value > 0.9 else "another one"
    )
