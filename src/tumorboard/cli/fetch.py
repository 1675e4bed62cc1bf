"""`tumorboard fetch`: the data set of the original study."""

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path

from tumorboard.cli.shared import command
from tumorboard.errors import UsageError


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    fetch = command(
        commands,
        "fetch",
        "download the chest-CT slices of the original study from Kaggle, as train takes them",
        "  tumorboard fetch chest-ct --out scans\n"
        "  tumorboard audit scans\n"
        "  tumorboard train scans --out runs/first\n"
        'It needs the extra: pip install "tumorboard[fetch]". The licence is shown first.\n'
        "Without a way to Kaggle it says what to download by hand.",
        _fetch,
    )
    fetch.add_argument("name", choices=("chest-ct",), metavar="chest-ct", help="the data set")
    fetch.add_argument(
        "--out", type=Path, default=Path("chest-ct"), metavar="FOLDER", help="default: chest-ct"
    )


def _fetch(options: argparse.Namespace) -> None:
    if find_spec("kagglehub") is None:
        raise UsageError('fetch needs a package that is not installed: pip install "tumorboard[fetch]"')
    from tumorboard.console import Console
    from tumorboard.pipeline import fetch

    folder = fetch.fetch(options.out, Console(options.quiet or options.json))
    if options.json:
        sys.stdout.write(json.dumps({"data": str(folder), "licence": fetch.LICENCE}) + "\n")
        return
    sys.stdout.write(f"Licence: {fetch.LICENCE}\nNext: tumorboard audit {folder}\nImages: {folder}\n")
