"""`tumorboard tune`: better settings than the recipe's, chosen on train and validation alone."""

import argparse
from pathlib import Path

from tumorboard.cli.shared import add_classes, add_settings, command, show


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    tune = command(
        commands,
        "tune",
        "try settings from a recipe's [search] table, cross-validated without test; write the best recipe",
        "  tumorboard tune scans/ --out studies/tuned --model custom --trials 20\n"
        "  tumorboard train scans/ --out runs/tuned --recipe studies/tuned/recipe.toml\n"
        "Repeat an interrupted command to resume it, or with more --trials to go on.\n"
        'It needs the extra: pip install "tumorboard[tune]".',
        _tune,
    )
    tune.add_argument(
        "data", type=Path, help="folder with train/valid/test of class folders, or class folders, or a CSV"
    )
    tune.add_argument("--out", type=Path, required=True, metavar="STUDY", help="the folder of the study")
    tune.add_argument(
        "--trials", type=int, default=20, metavar="N", help="how many in all (default: 20); K trainings each"
    )
    tune.add_argument(
        "--folds", type=int, default=5, metavar="K", help="of train and validation (default: 5)"
    )
    tune.add_argument(
        "--model",
        default="ensemble",
        metavar="NAME",
        help="whose held-out log loss is the score (default: ensemble); only what it needs is trained",
    )
    add_settings(tune)
    add_classes(tune)


def _tune(options: argparse.Namespace) -> None:
    from tumorboard import search
    from tumorboard.console import Console
    from tumorboard.data.classes import parse_groups
    from tumorboard.pipeline.tune import tune
    from tumorboard.recipe import load

    recipe = load(options.recipe).with_options(
        options.backbone, options.weights, options.seed, options.window
    )
    study = tune(
        options.data,
        options.out,
        recipe,
        search.load(options.recipe, recipe),
        trials=options.trials,
        folds=options.folds,
        model=options.model,
        class_map=parse_groups(options.class_map),
        merge=parse_groups(options.merge),
        skip_bad=options.skip_bad,
        console=Console(options.quiet or options.json),
    )
    show(study.results, study.metrics, options.json)
