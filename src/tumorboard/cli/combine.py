"""`tumorboard combine`: one model of several saved ones."""

import argparse
import json
import sys
from pathlib import Path

from tumorboard.cli.shared import add_classes, command


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    combine = command(
        commands,
        "combine",
        "make one model of two or more saved ones",
        "  tumorboard combine a/models/custom.keras b/models/pretrained.keras --form B --out mean.keras\n"
        "  tumorboard combine a.keras b.keras --form chain --data scans/ --out chain.keras",
        _combine,
    )
    combine.add_argument(
        "models", type=Path, nargs="+", metavar="MODEL", help=".keras files, each with its .json"
    )
    combine.add_argument(
        "--form",
        choices=("A", "B", "C", "D", "weighted", "greedy", "stacked", "boosted", "vote", "mirrored", "chain"),
        default="B",
        help="B averages, mirrored does so over mirror images too, vote counts; the others learn from --data",
    )
    combine.add_argument("--out", type=Path, required=True, metavar="FILE.keras", help="the new model")
    combine.add_argument("--data", type=Path, help="what the forms that learn are fitted on: train and valid")
    combine.add_argument("--seed", type=int, default=0, help="of the first weights")
    add_classes(combine)


def _combine(options: argparse.Namespace) -> None:
    from tumorboard.console import Console
    from tumorboard.data.classes import parse_groups
    from tumorboard.pipeline.combine import combine

    contract = combine(
        options.models,
        options.out,
        options.form,
        data=options.data,
        seed=options.seed,
        class_map=parse_groups(options.class_map),
        merge=parse_groups(options.merge),
        skip_bad=options.skip_bad,
        console=Console(options.quiet or options.json),
    )
    sys.stdout.write(json.dumps(contract.to_json()) + "\n" if options.json else f"Model: {options.out}\n")
