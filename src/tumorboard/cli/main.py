"""The entry point: parse, run one command, turn every error into lines and an exit code."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from tumorboard import NOTICE, __version__
from tumorboard.cli import (
    audit,
    combine,
    compare,
    completion,
    demo,
    evaluate,
    explain,
    export,
    fetch,
    predict,
    report,
    serve,
    split,
    train,
    tune,
)
from tumorboard.cli.quiet import import_quietly
from tumorboard.errors import TumorboardError

_EXIT_CODES = """\
exit codes:
  0 done   1 unforeseen failure   2 wrong flag   3 data   4 settings   5 model or weights file
  6 run folder in use or of another run   7 training cannot go on   8 disk   9 the audit has findings
  130/143 interrupted: repeat the command
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Bad input never shows a traceback."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import_quietly("tensorflow")
    try:
        run: Callable[[argparse.Namespace], None] = options.run
        run(options)
    except TumorboardError as error:
        _complain(error)
        return error.exit_code
    except KeyboardInterrupt:  # before a run began, or after it ended
        sys.stderr.write("tumorboard: stopped by SIGINT; repeat the same command\n")
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
    for command in (
        audit,
        split,
        train,
        tune,
        evaluate,
        compare,
        predict,
        explain,
        export,
        report,
        demo,
        combine,
        serve,
        fetch,
    ):
        command.add(commands)
    completion.add(commands, parser)
    return parser
