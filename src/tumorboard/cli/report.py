"""`tumorboard report`: the page that people read."""

import argparse
import json
import sys
from pathlib import Path

from tumorboard.cli.shared import command


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    report = command(
        commands,
        "report",
        "write a finished run's report.html anew, and its charts as SVG, PNG and CSV",
        "  tumorboard report runs/first\nThe page needs nothing else: no network, no script.",
        _report,
    )
    report.add_argument("run_folder", type=Path, metavar="RUN", help="the folder of a finished run")


def _report(options: argparse.Namespace) -> None:
    from tumorboard.pipeline.report import report

    path = report(options.run_folder)
    sys.stdout.write(json.dumps({"report": str(path)}) + "\n" if options.json else f"Report: {path}\n")
