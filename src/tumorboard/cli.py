"""The command line. Everything heavy is imported by the command that needs it."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tumorboard import NOTICE, __version__
from tumorboard.errors import TumorboardError

_EXIT_CODES = """\
exit codes:
  0 done   1 unforeseen failure   2 wrong flag   3 data   4 settings   5 model or weights file
  6 run folder in use or of another run   7 training cannot go on   8 disk   130/143 interrupted: repeat it
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Bad input never shows a traceback."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # no start-up notes of TensorFlow
    try:
        run: Callable[[argparse.Namespace], None] = options.run
        run(options)
    except TumorboardError as error:
        _complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def _complain(error: TumorboardError) -> None:
    lines = [f"tumorboard: {error}", *(f"  {line}" for line in error.details)]
    sys.stderr.write("\n".join(lines) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "tumorboard",
        description="Train, combine and honestly evaluate CNNs on labelled medical images.",
        epilog=f"{_EXIT_CODES}\n{NOTICE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tumorboard {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_demo(commands)
    _add_combine(commands)
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    summary: str,
    example: str,
    run: Callable[[argparse.Namespace], None],
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:\n{example}\n\n{NOTICE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run)
    command.add_argument("--quiet", action="store_true", help="no progress, only the results")
    command.add_argument("--json", action="store_true", help="the results as JSON on standard output")
    return command


def _add_train(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    train = _command(
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
    _add_settings(train)
    _add_classes(train)


def _add_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--recipe", default="default", help="default, notebook, notebook-fast, or a TOML file"
    )
    command.add_argument(
        "--backbone", help="of the pretrained models, e.g. efficientnet-lite0 (embedded), resnet50"
    )
    command.add_argument("--weights", metavar="imagenet|none|FILE", help="of the backbone")
    command.add_argument("--seed", type=int, help="same seed, same bits on a CPU")


def _add_classes(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--class-map",
        action="append",
        default=[],
        metavar="NAME=FOLDER,…",
        help="these folders are class NAME",
    )
    command.add_argument(
        "--merge",
        action="append",
        default=[],
        metavar="NAME=CLASS,…",
        help="ask a coarser question: these classes are one",
    )
    command.add_argument("--skip-bad", action="store_true", help="leave out files that cannot be read")


def _train(options: argparse.Namespace) -> None:
    from tumorboard.console import Console
    from tumorboard.data.classes import parse_groups
    from tumorboard.pipeline.train import train
    from tumorboard.recipe import load

    run = train(
        options.data,
        options.out,
        load(options.recipe).with_options(options.backbone, options.weights, options.seed),
        class_map=parse_groups(options.class_map),
        merge=parse_groups(options.merge),
        skip_bad=options.skip_bad,
        console=Console(options.quiet or options.json),
    )
    _show(run.results, run.metrics, options.json)


def _show(results: Path, metrics: Path, as_json: bool) -> None:
    """The table on standard output; the last line says where the results are."""
    if as_json:
        sys.stdout.write(
            json.dumps({"results": str(results), **json.loads(metrics.read_text("utf-8"))}) + "\n"
        )
        return
    sys.stdout.write(f"{results.read_text('utf-8')}\nResults: {results}\n")


def _add_demo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    demo = _command(
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
    _show(run.results, run.metrics, options.json)


def _add_combine(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    combine = _command(
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
        choices=("A", "B", "C", "D", "weighted", "vote", "chain"),
        default="B",
        help="B averages, vote is the majority's; A, C, D, weighted and chain learn from --data",
    )
    combine.add_argument("--out", type=Path, required=True, metavar="FILE.keras", help="the new model")
    combine.add_argument("--data", type=Path, help="what the forms that learn are fitted on: train and valid")
    combine.add_argument("--seed", type=int, default=0, help="of the first weights")
    _add_classes(combine)


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
