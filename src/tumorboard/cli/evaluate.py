"""`tumorboard evaluate`: figures with their intervals, of a run or of anybody's predictions."""

import argparse
import sys
from pathlib import Path

from tumorboard.cli.shared import add_classes, command, show
from tumorboard.errors import UsageError


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags."""
    evaluate = command(
        commands,
        "evaluate",
        "score a finished run, on other images too, or anybody's predictions",
        "  tumorboard evaluate runs/first                          its results again, from its predictions\n"
        "  tumorboard evaluate runs/first --data other-hospital/   every model on other labelled images\n"
        "  tumorboard evaluate --predictions a.csv b.csv --metadata patients.csv",
        _evaluate,
    )
    evaluate.add_argument(
        "run_folder", type=Path, nargs="?", metavar="RUN", help="the folder of a finished run"
    )
    evaluate.add_argument(
        "--data", type=Path, metavar="DATA", help="class folders or a manifest CSV to score"
    )
    evaluate.add_argument(
        "--predictions",
        type=Path,
        nargs="+",
        metavar="CSV",
        help="tables with id, label, predicted, probability:<class>…, of the same samples",
    )
    evaluate.add_argument(
        "--metadata", type=Path, metavar="CSV", help="a column id and others: figures for every subgroup"
    )
    add_classes(evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    if bool(options.run_folder) == bool(options.predictions) or (options.predictions and options.data):
        raise UsageError("expected either RUN, with --data if you like, or --predictions; see --help")
    _refuse_unread(options)
    if options.predictions:
        _judge_files(options)
    elif options.data:
        _judge_data(options)
    else:
        _judge_again(options)


def _refuse_unread(options: argparse.Namespace) -> None:
    """Flags that the other arguments leave without effect."""
    reading = {"--class-map": options.class_map, "--merge": options.merge, "--skip-bad": options.skip_bad}
    given = [flag for flag, value in reading.items() if value and not options.data]
    given += ["--metadata"] if options.metadata and not (options.data or options.predictions) else []
    if given:
        raise UsageError(f"expected --data with {given[0]}, found none; give the images, or leave it out")


def _judge_files(options: argparse.Namespace) -> None:
    from tumorboard.pipeline.evaluate import evaluate_predictions
    from tumorboard.reporting.judgement import judgement_json, judgement_md

    found = evaluate_predictions(options.predictions, options.metadata)
    sys.stdout.write(judgement_json(found) if options.json else judgement_md(found))


def _judge_data(options: argparse.Namespace) -> None:
    from tumorboard.console import Console
    from tumorboard.data.classes import parse_groups
    from tumorboard.pipeline.evaluate import evaluate_data

    out = evaluate_data(
        options.run_folder,
        options.data,
        class_map=parse_groups(options.class_map),
        merge=parse_groups(options.merge),
        skip_bad=options.skip_bad,
        metadata=options.metadata,
        console=Console(options.quiet or options.json),
    )
    show(out / "results.md", out / "metrics.json", options.json)


def _judge_again(options: argparse.Namespace) -> None:
    from tumorboard.pipeline.report import rescore

    run = rescore(options.run_folder)
    show(run.results, run.metrics, options.json)
