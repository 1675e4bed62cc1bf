"""`tumorboard train`: the main job."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tumorboard.cli.shared import add_classes, add_settings, command, show
from tumorboard.errors import UsageError

if TYPE_CHECKING:
    from tumorboard.pipeline.repeats import Engine
    from tumorboard.recipe import Recipe
    from tumorboard.runfolder import RunFolder


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
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
    from tumorboard.console import Console
    from tumorboard.data.classes import parse_groups
    from tumorboard.recipe import load

    recipe = load(options.recipe).with_options(
        options.backbone, options.weights, options.seed, options.window
    )
    common = {
        "class_map": parse_groups(options.class_map),
        "merge": parse_groups(options.merge),
        "skip_bad": options.skip_bad,
        "console": Console(options.quiet or options.json),
    }
    if options.track:
        _require_tracking(options)
    if options.ray:
        run = _scattered(options, recipe, common)
    elif options.folds or options.seeds != 1 or options.bag:
        from tumorboard.pipeline.repeats import repeat

        numbers = {"folds": options.folds, "seeds": options.seeds, "bag": options.bag}
        run = repeat(options.data, options.out, recipe, **numbers, **common)
    else:
        from tumorboard.pipeline.train import train

        run = train(options.data, options.out, recipe, track=options.track, **common)
    show(run.results, run.metrics, options.json)


def _require_tracking(options: argparse.Namespace) -> None:
    """Before anything is read: the packages, and one run."""
    from tumorboard.training import tracking

    if options.ray or options.folds or options.seeds != 1:
        raise UsageError("expected one run with --track, found --folds, --seeds or --ray; leave one out")
    tracking.require(options.track)


def _scattered(options: argparse.Namespace, recipe: "Recipe", common: dict[str, Any]) -> "RunFolder":
    from tumorboard.cluster import connecting

    connecting.require()
    from tumorboard.cluster.training import engine
    from tumorboard.pipeline.repeats import repeat, require_numbers

    numbers = {"folds": options.folds, "seeds": options.seeds, "bag": options.bag}
    require_numbers(**numbers)
    threads = recipe.threads or 1  # a number that does not depend on the machine
    plan = recipe.model_copy(update={"threads": threads})
    with connecting.connected(options.ray):
        runs = engine(threads, max(options.folds, options.seeds) * len(plan.models))
        if not options.folds and options.seeds == 1 and not options.bag:
            return _one_run(options, plan, runs, common)
        return repeat(options.data, options.out, plan, engine=runs, **numbers, **common)


def _one_run(
    options: argparse.Namespace, recipe: "Recipe", engine: "Engine", common: dict[str, Any]
) -> "RunFolder":
    """Its models beside each other."""
    from tumorboard.pipeline.pieces import Plan
    from tumorboard.runfolder import RunFolder

    run, console = RunFolder(options.out), common.pop("console")
    engine([Plan(options.data, run.root, recipe, run.cache, common)], console)
    return run
