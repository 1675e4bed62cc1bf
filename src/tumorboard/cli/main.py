"""The command line: parse, run one command, turn every error into lines and an exit code.

Some packages are imported under a precaution, whoever imports them first. TensorFlow's C++ part writes
start-up notes to the process's stderr before it knows any log level: stderr is closed meanwhile. matplotlib
reads a `matplotlibrc` from the working directory, which may be a stranger's, and a damaged one ends the
import: the working directory is its own folder meanwhile; its notes, such as that it cannot write to the home
folder, concern no figure and are not shown. Keras raises what its backend raises: the error is translated.
"""

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import NoReturn

from tumorboard import NOTICE, __version__
from tumorboard.cli import completion, data_commands, run_commands, server_commands, train_commands
from tumorboard.cli.options import write
from tumorboard.errors import StorageError, TumorboardError, UsageError, display, for_terminal

_EXIT_CODES = """\
exit codes:
  0  success                          6  run folder in use, or of another run
  1  unexpected failure               7  training cannot continue
  2  wrong argument, missing package  8  disk or output cannot be written
  3  data                             9  the audit has findings
  4  settings                       130  interrupted by Ctrl-C (143: SIGTERM);
  5  model or weights file               repeat the command to resume it
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Bad input never shows a traceback."""
    try:
        _prepare_output()
        try:
            options = _parser().parse_args(arguments)
        except SystemExit:  # after --help, --version or a wrong flag
            write("")
            raise
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # an error of TensorFlow is raised as well
        guard_imports({"tensorflow": _stderr_closed, "matplotlib": _own_folder, "keras": _backend_errors})
        run: Callable[[argparse.Namespace], None] = options.run
        run(options)
    except TumorboardError as error:
        _print_error(error)
        return error.exit_code
    except KeyboardInterrupt:  # before a run began, or after it ended
        _print_error(TumorboardError("stopped by SIGINT; repeat the same command"))
        return 130
    return 0


def _prepare_output() -> None:
    """Make both streams take every character, such as a file name that their encoding lacks.

    A file that is opened gets the lowest free descriptor. That of a closed stream is taken here, or what a
    library writes to that stream would go into a file of the run.

    Raises:
        StorageError: Standard output is closed.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)  # by the processes that are started
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        raise StorageError("expected standard output that can be written, found it closed; redirect it")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _print_error(error: TumorboardError) -> None:
    lines = [f"tumorboard: {error}", *(f"  {line}" for line in error.details)]
    with contextlib.suppress(OSError):
        sys.stderr.write(for_terminal("\n".join(lines)) + "\n")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print the message, which quotes what was typed, and end the program."""
        super().error(for_terminal(message))


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _Parser(
        "tumorboard",
        description="Train, combine and evaluate CNNs on labelled medical images.",
        epilog=f"{_EXIT_CODES}\nexample:\n  tumorboard demo\n  tumorboard train scans/ --out runs/first\n\n"
        f"tumorboard COMMAND --help explains a command and its flags.\n{NOTICE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tumorboard {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (
        train_commands.add_demo,
        data_commands.add_fetch,
        data_commands.add_audit,
        data_commands.add_split,
        train_commands.add_train,
        train_commands.add_tune,
        train_commands.add_combine,
        run_commands.add_evaluate,
        run_commands.add_compare,
        run_commands.add_report,
        run_commands.add_predict,
        run_commands.add_explain,
        run_commands.add_export,
        server_commands.add_serve,
        server_commands.add_ui,
    ):
        add(commands)
    completion.add_completion(commands, parser)
    return parser


ImportContext = Callable[[ModuleSpec], contextlib.AbstractContextManager[None]]


def guard_imports(contexts: Mapping[str, ImportContext]) -> None:
    """Import each named module within its context, when it is imported; does nothing for what already is."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _GuardedImports)]
    sys.meta_path.insert(0, _GuardedImports(contexts))


class _GuardedImports(MetaPathFinder):
    def __init__(self, contexts: Mapping[str, ImportContext]) -> None:
        self._contexts = contexts

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        context = self._contexts.get(fullname)
        spec = PathFinder.find_spec(fullname, path, target) if context else None
        if context is None or spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_within(module: ModuleType) -> None:
            with context(spec):
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
    import logging  # takes time, which --help has not

    logging.getLogger("matplotlib").setLevel(logging.ERROR)
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


@contextlib.contextmanager
def _backend_errors(_: ModuleSpec) -> Iterator[None]:
    from tumorboard import backend

    try:
        yield
    except (ImportError, ValueError, AttributeError) as error:  # the last if keras.json is no object
        variable = os.environ.get("KERAS_BACKEND", "")
        source = f"KERAS_BACKEND={variable[:40]}" if variable else display(backend.settings_file())
        raise UsageError(
            f"expected an installed Keras backend (tensorflow, jax, torch), found {source}: {error}; "
            "install it, repair the file, or set KERAS_BACKEND=tensorflow"
        ) from error
