"""The command line: parse, run one command, turn every error into lines and an exit code.

Two packages are imported under a precaution, whoever imports them first. TensorFlow's C++ part writes
start-up notes to the process's stderr, before any setting of its log level is heard: stderr is closed then.
matplotlib reads a `matplotlibrc` from the working directory, which may be a stranger's, and a damaged one
ends the import: it is imported with its own folder as the working directory.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from tumorboard import NOTICE, __version__
from tumorboard.cli import completion, data_commands, run_commands, train_commands
from tumorboard.errors import TumorboardError


def import_quietly(name: str) -> None:
    """From now on the module of this name is imported, when it is, without a word on stderr."""
    if name not in sys.modules:
        sys.meta_path.insert(0, _ImportedWithin(name, _stderr_closed))


def import_from_own_folder(name: str) -> None:
    """From now on the module of this name is imported, when it is, with its folder as working directory."""
    if name not in sys.modules:
        sys.meta_path.insert(0, _ImportedWithin(name, _own_folder))


class _ImportedWithin(MetaPathFinder):
    def __init__(
        self, name: str, context: Callable[[ModuleSpec], contextlib.AbstractContextManager[None]]
    ) -> None:
        self._name, self._context = name, context

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_within(module: ModuleType) -> None:
            with self._context(spec):
                execute(module)

        spec.loader.exec_module = execute_within  # type: ignore[method-assign]
        return spec


@contextlib.contextmanager
def _stderr_closed(_: ModuleSpec) -> Iterator[None]:
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextlib.contextmanager
def _own_folder(spec: ModuleSpec) -> Iterator[None]:
    try:
        before = os.getcwd()
    except OSError:  # it was removed: nothing lies there
        yield
        return
    os.chdir(os.path.dirname(spec.origin or os.sep))
    try:
        yield
    finally:
        os.chdir(before)


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
    import_from_own_folder("matplotlib")
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
    for add in (
        data_commands.add_audit,
        data_commands.add_split,
        train_commands.add_train,
        train_commands.add_tune,
        run_commands.add_evaluate,
        run_commands.add_compare,
        run_commands.add_predict,
        run_commands.add_explain,
        run_commands.add_export,
        run_commands.add_report,
        train_commands.add_demo,
        train_commands.add_combine,
        run_commands.add_serve,
        data_commands.add_fetch,
    ):
        add(commands)
    completion.add(commands, parser)
    return parser
