"""`tumorboard demo`: the main job on a drawn data set."""

import argparse
from pathlib import Path

from tumorboard.cli.shared import command, show


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    demo = command(
        commands,
        "demo",
        "draw a synthetic data set and run the main job on it, offline",
        "  tumorboard demo --out demo-run",
        _demo,
    )
    demo.add_argument("--out", type=Path, default=Path("demo-run"), metavar="RUN", help="the run folder")
    demo.add_argument("--data", type=Path, default=Path("demo-data"), help="where the images are drawn")


def _demo(options: argparse.Namespace) -> None:
    from tumorboard.console import Console
    from tumorboard.pipeline.demo import demo

    run = demo(options.data, options.out, Console(options.quiet or options.json))
    show(run.results, run.metrics, options.json)
