"""`tumorboard compare`: runs side by side on the same test images."""

import argparse
import sys
from pathlib import Path

from tumorboard.cli.shared import command


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    compare = command(
        commands,
        "compare",
        "compare the recommended models of several runs on the same test images, with tests",
        "  tumorboard compare runs/seed-0 runs/seed-1 runs/seed-2",
        _compare,
    )
    compare.add_argument("run_folders", type=Path, nargs="+", metavar="RUN", help="folders of finished runs")


def _compare(options: argparse.Namespace) -> None:
    from tumorboard.pipeline.compare import compare
    from tumorboard.reporting.judgement import judgement_json, judgement_md

    found = compare(options.run_folders)
    sys.stdout.write(judgement_json(found) if options.json else judgement_md(found))
