"""`tumorboard train`: the main job."""

import argparse
from pathlib import Path

from tumorboard.cli.shared import add_classes, add_settings, command, show


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    train = command(
        commands,
        "train",
        "train four models on class folders or a manifest CSV, evaluate them, write the results",
        "  tumorboard train scans/ --out runs/first\n"
        "  tumorboard train scans/ --out runs/binary --merge cancer=adenocarcinoma,squamous.cell.carcinoma\n"
        "Repeat an interrupted command to resume it.",
        _train,
    )
    train.add_argument(
        "data", type=Path, help="folder with train/valid/test of class folders, or class folders, or a CSV"
    )
    train.add_argument("--out", type=Path, required=True, metavar="RUN", help="the run folder")
    add_settings(train)
    add_classes(train)


def _train(options: argparse.Namespace) -> None:
    from tumorboard.console import Console
    from tumorboard.data.classes import parse_groups
    from tumorboard.pipeline.train import train
    from tumorboard.recipe import load

    run = train(
        options.data,
        options.out,
        load(options.recipe).with_options(options.backbone, options.weights, options.seed, options.window),
        class_map=parse_groups(options.class_map),
        merge=parse_groups(options.merge),
        skip_bad=options.skip_bad,
        console=Console(options.quiet or options.json),
    )
    show(run.results, run.metrics, options.json)
