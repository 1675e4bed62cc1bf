"""`tumorboard train`: the main job."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tumorboard.cli.options import add_classes, add_settings, command, data_source, show

if TYPE_CHECKING:
    pass


def add_train(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    train = command(
        commands,
        "train",
        "train four models on class folders or a manifest CSV, evaluate them, write the results",
        "  tumorboard train scans/ --out runs/first\n"
        "  tumorboard train scans/ --out runs/binary --merge cancer=adenocarcinoma,squamous.cell.carcinoma\n"
        "  tumorboard train scans/ --out studies/five --folds 5 --seeds 5\n"
        "Repeat an interrupted command to resume it.",
        _train,
    )
    train.add_argument(
        "data", type=Path, help="folder with train/valid/test of class folders, or class folders, or a CSV"
    )
    train.add_argument("--out", type=Path, required=True, metavar="RUN", help="the run folder")
    train.add_argument(
        "--folds",
        type=int,
        default=0,
        metavar="K",
        help="first cross-validate on train and validation, and let that choose the way to combine",
    )
    train.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="N runs, their seeds counted up; mean and spread"
    )
    train.add_argument(
        "--bag",
        action="store_true",
        help="also average the folds' ensembles into one model, RUN/bagged, scored on test alone",
    )
    train.add_argument(
        "--ray",
        metavar="local|ADDRESS",
        help="make models, and the runs of --folds and --seeds, beside each other on this machine or a Ray "
        "cluster (the extra cluster)",
    )
    train.add_argument(
        "--track",
        choices=("tensorboard", "mlflow"),
        default="",
        help="show the trainings there too, from RUN/tracking; nothing leaves this machine",
    )
    add_settings(train)
    add_classes(train)


def _train(options: argparse.Namespace) -> None:
    from tumorboard.config import load
    from tumorboard.progress import Console
    from tumorboard.workflows.train import train

    run = train(
        data_source(options),
        options.out,
        load(options.recipe).with_options(options.backbone, options.weights, options.seed, options.window),
        folds=options.folds,
        seeds=options.seeds,
        bag=options.bag,
        ray=options.ray or "",
        track=options.track,
        console=Console(options.quiet or options.json),
    )
    show(run, options.json)


def add_demo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
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
    from tumorboard.progress import Console
    from tumorboard.workflows.datasets import demo

    run = demo(options.data, options.out, Console(options.quiet or options.json))
    show(run, options.json)


def add_tune(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    tune = command(
        commands,
        "tune",
        "try settings from a recipe's [search] table, cross-validated without test; write the best recipe",
        "  tumorboard tune scans/ --out studies/tuned --model custom --trials 20\n"
        "  tumorboard train scans/ --out runs/tuned --recipe studies/tuned/recipe.toml\n"
        "Repeat an interrupted command to resume it, or with more --trials to go on.\n"
        "It needs the package optuna.",
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
    from tumorboard import search_space
    from tumorboard.config import load
    from tumorboard.progress import Console
    from tumorboard.workflows.tune import tune

    recipe = load(options.recipe).with_options(
        options.backbone, options.weights, options.seed, options.window
    )
    study = tune(
        data_source(options),
        options.out,
        recipe,
        search_space.load(options.recipe, recipe),
        trials=options.trials,
        folds=options.folds,
        model=options.model,
        console=Console(options.quiet or options.json),
    )
    show(study, options.json)


def add_combine(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    combine = command(
        commands,
        "combine",
        "make one model of two or more saved ones",
        "  tumorboard combine a/models/custom.keras b/models/pretrained.keras --form mean --out mean.keras\n"
        "  tumorboard combine a.keras b.keras --form chain --data scans/ --out chain.keras",
        _combine,
    )
    combine.add_argument(
        "models", type=Path, nargs="+", metavar="MODEL", help=".keras files, each with its .json"
    )
    combine.add_argument(
        "--form",
        choices=(
            *("mean", "weighted", "greedy", "stacked", "boosted", "vote", "mirrored"),
            *("mean_dense", "concat_dense", "chain"),
        ),
        default="mean",
        help="how predictions are combined; all but mean, mirrored and vote are fitted on --data",
    )
    combine.add_argument("--out", type=Path, required=True, metavar="FILE.keras", help="the new model")
    combine.add_argument("--data", type=Path, help="what the forms that learn are fitted on: train and valid")
    combine.add_argument("--seed", type=int, default=0, help="of the first weights")
    add_classes(combine)


def _combine(options: argparse.Namespace) -> None:
    from tumorboard.progress import Console
    from tumorboard.workflows.combine import combine

    spec = combine(
        options.models,
        options.out,
        options.form,
        data=data_source(options) if options.data else None,
        seed=options.seed,
        console=Console(options.quiet or options.json),
    )
    sys.stdout.write(json.dumps(spec.to_json()) + "\n" if options.json else f"Model: {options.out}\n")
