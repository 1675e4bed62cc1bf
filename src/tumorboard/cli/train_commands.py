"""Commands that train: `tumorboard train`, `demo`, `tune` and `combine`."""

import argparse
import json
import shlex
from pathlib import Path

from tumorboard.cli.options import (
    add_classes,
    add_data,
    add_frames,
    add_settings,
    command,
    data_source,
    frames,
    print_results,
    program,
    recipe_of,
    require_data,
    write,
)


def add_train(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    train = command(
        commands,
        "train",
        "train four models, evaluate them on held-out images and write a report",
        "  tumorboard train scans/ --out runs/first\n"
        "  tumorboard train scans/ --out runs/binary --merge cancer=adenocarcinoma,squamous.cell.carcinoma\n"
        "  tumorboard train scans/ --out runs/five --folds 5 --seeds 5\n"
        "Repeat an interrupted command to resume it.",
        _train,
    )
    add_data(train)
    train.add_argument("--out", type=Path, required=True, metavar="RUN", help="the run folder")
    train.add_argument(
        "--folds",
        type=int,
        default=0,
        metavar="K",
        help="first run K-fold cross-validation on train and validation; it chooses the combination method",
    )
    train.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="train N times with consecutive seeds; report mean and SD",
    )
    train.add_argument(
        "--bag",
        action="store_true",
        help="also average the folds' ensembles into one model, RUN/bagged, evaluated on test",
    )
    train.add_argument(
        "--ray",
        metavar="local|ADDRESS",
        help="train models, and the runs of --folds and --seeds, in parallel on this machine or a Ray "
        "cluster (requires the extra cluster)",
    )
    train.add_argument(
        "--track",
        choices=("tensorboard", "mlflow"),
        default="",
        help="also log training curves for TensorBoard or MLflow, in RUN/tracking; nothing is sent anywhere",
    )
    add_settings(train)
    add_classes(train)


def _train(options: argparse.Namespace) -> None:
    from tumorboard.progress import Console
    from tumorboard.workflows.train import train

    run = train(
        data_source(options),
        options.out,
        recipe_of(options),
        folds=options.folds,
        seeds=options.seeds,
        bag=options.bag,
        ray=options.ray or "",
        track=options.track,
        console=Console(options.quiet or options.json),
    )
    print_results(run, options.json)


def add_demo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    demo = command(
        commands,
        "demo",
        "draw synthetic images, train on them and write a report, offline",
        "  tumorboard demo --out demo-run",
        _demo,
    )
    demo.add_argument("--out", type=Path, default=Path("demo-run"), metavar="RUN", help="the run folder")
    demo.add_argument(
        "--data", type=Path, default=Path("demo-data"), help="the folder for the synthetic images"
    )


def _demo(options: argparse.Namespace) -> None:
    from tumorboard.progress import Console
    from tumorboard.workflows.datasets import demo

    run = demo(options.data, options.out, Console(options.quiet or options.json))
    typed, out = program(), shlex.quote(str(options.out))
    steps = [
        f"{typed} serve {out}",
        f"{typed} predict {out} {shlex.quote(str(options.data / 'test' / 'normal'))} --out predictions.csv",
        f"{typed} audit {shlex.quote(str(options.data))}",
    ]
    print_results(run, options.json, "".join(["Next:\n", *(f"  {step}\n" for step in steps)]))


def add_tune(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    tune = command(
        commands,
        "tune",
        "search hyperparameters by cross-validation without test, and write the best recipe",
        "  tumorboard tune scans/ --out searches/tuned --model custom --trials 20\n"
        "  tumorboard train scans/ --out runs/tuned --recipe searches/tuned/recipe.toml\n"
        "The recipe's [search] table lists what is searched. Repeat an interrupted command to resume it,\n"
        "or with more --trials to continue. Requires the package optuna.",
        _tune,
    )
    add_data(tune)
    tune.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the folder of the search")
    tune.add_argument(
        "--trials",
        type=int,
        default=20,
        metavar="N",
        help="number of trials (default: 20), each of K trainings",
    )
    tune.add_argument(
        "--folds",
        type=int,
        default=5,
        metavar="K",
        help="number of folds of train and validation (default: 5)",
    )
    tune.add_argument(
        "--model",
        default="ensemble",
        metavar="NAME",
        help="the model whose held-out log loss is minimised (default: ensemble)",
    )
    add_settings(tune)
    add_classes(tune)


def _tune(options: argparse.Namespace) -> None:
    from tumorboard import search_space
    from tumorboard.progress import Console
    from tumorboard.workflows.tune import tune

    recipe = recipe_of(options)
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
    print_results(study, options.json)


def add_combine(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    combine = command(
        commands,
        "combine",
        "combine two or more saved models into one model",
        "  tumorboard combine a/models/custom.keras b/models/pretrained.keras --form mean --out mean.keras\n"
        "  tumorboard combine a.keras b.keras --form chain --data scans/ --out chain.keras",
        _combine,
    )
    combine.add_argument(
        "models", type=Path, nargs="+", metavar="MODEL", help=".keras files, each with its .json file"
    )
    combine.add_argument(
        "--form",
        choices=(
            *("mean", "weighted", "greedy", "stacked", "boosted", "vote", "mirrored"),
            *("mean_dense", "concat_dense", "chain"),
        ),
        default="mean",
        help="how predictions are combined (default: mean); all but mean, mirrored and vote need --data",
    )
    combine.add_argument("--out", type=Path, required=True, metavar="FILE.keras", help="the new model")
    combine.add_argument(
        "--data", type=Path, help="labelled images with train and valid splits, to fit the combination on"
    )
    combine.add_argument(
        "--seed", type=int, default=0, help="random seed of the initial weights (default: 0)"
    )
    add_frames(combine, of_run=True)
    add_classes(combine)


def _combine(options: argparse.Namespace) -> None:
    require_data(options)
    from tumorboard.progress import Console
    from tumorboard.workflows.combine import combine

    spec = combine(
        options.models,
        options.out,
        options.form,
        data=data_source(options) if options.data else None,
        frames=frames(options),
        seed=options.seed,
        console=Console(options.quiet or options.json),
    )
    from tumorboard.models.saving import spec_path  # Keras, seconds to import

    written = {"model": str(options.out), "specification": str(spec_path(options.out))}
    write(json.dumps({**written, **spec.to_json()}) + "\n" if options.json else f"Model: {options.out}\n")
