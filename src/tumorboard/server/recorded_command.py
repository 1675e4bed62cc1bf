"""Which images a run of a terminal read, and how, from the command that it recorded.

All else that was chosen is in the recipe of the run; a command with anything more is not understood here.
"""

import argparse
import contextlib
import json
import os
import shlex
from pathlib import Path
from typing import Any, NoReturn

from tumorboard.errors import RunFolderError, display
from tumorboard.run_folder import RunFolder
from tumorboard.server.workspace import Workspace
from tumorboard.storage import read_regular

_LONGEST = 1 << 16  # bytes of environment.json
_IN_RECIPE = ("recipe", "backbone", "weights", "seed", "window", "frames", "keep-together")
_HARMLESS = ("quiet", "json")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def data_of_command(run: RunFolder, workspace: Workspace) -> dict[str, Any]:
    """Return the fields of a `Job` that say which images were read; nothing need be there.

    Raises:
        RunFolderError: No such command is recorded; it chose what neither a recipe nor these fields hold; or
            the images lie outside the workspace.
    """
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("data")
    parser.add_argument("--out", required=True)
    parser.add_argument("--class-map", action="append", default=[])
    parser.add_argument("--skip-bad", action="store_true")
    for name in _IN_RECIPE:
        parser.add_argument(f"--{name}")
    for name in _HARMLESS:
        parser.add_argument(f"--{name}", action="store_true")
    command = _words(run)
    try:
        if command[:2] != ["tumorboard", "train"]:
            raise ValueError(command)
        chosen, others = parser.parse_known_args(command[2:])
    except ValueError:
        raise RunFolderError(
            "expected a run of one tumorboard train, found several runs, a search, or no command recorded; "
            "resume it in a terminal"
        ) from None
    if others:
        raise RunFolderError(
            "expected a run whose options are all in its recipe, found "
            f"{display(others[0].partition('=')[0], 40)}; resume it in a terminal with the command below"
        )
    if Path(chosen.out).is_absolute() and not Path(chosen.data).is_absolute():
        raise RunFolderError(
            "expected images whose place is known, found a relative path beside an absolute --out; "
            "resume this run in a terminal, in the folder where it was begun"
        )
    data = Path(os.path.normpath(_working_directory(run, Path(chosen.out)) / chosen.data))
    if not data.is_relative_to(workspace.root):
        raise RunFolderError(
            "expected images below the folder of this page, found them outside; resume this run in a "
            "terminal with the command below, or start tumorboard ui in a folder that contains both"
        )
    return {
        "data": workspace.relative(data),
        "class_map": tuple(chosen.class_map),
        "skip_bad": chosen.skip_bad,
    }


def shown_command(run: RunFolder) -> str:
    """Return the command of a run, quoted anew, as the run may be a stranger's; "" if it is no tumorboard."""
    words = _words(run)
    if words[:1] != ["tumorboard"]:
        return ""
    parser, place = _Parser(add_help=False, allow_abbrev=False), ""
    parser.add_argument("--out")
    with contextlib.suppress(ValueError, RunFolderError):
        out = parser.parse_known_args(words[1:])[0].out
        if out and not Path(out).is_absolute():
            place = f"cd {shlex.quote(str(_working_directory(run, Path(out))))}\n"
    return place + shlex.join(words)


def _words(run: RunFolder) -> list[str]:
    """Read the words of the recorded command; none of a file that is missing, damaged or no record."""
    try:
        return shlex.split(str(json.loads(read_regular(run.environment, _LONGEST))["command"]))
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return []


def _working_directory(run: RunFolder, out: Path) -> Path:
    """Return where the command was typed, from the place of the run and what --out said of it."""
    if out.is_absolute():
        return Path("/")  # the images must be absolute too: what lies there is not in the workspace
    parts = len(out.parts)
    if run.root.parts[len(run.root.parts) - parts :] != out.parts:  # moved since, or ".."
        raise RunFolderError(
            f"expected this run at {display(out, 60)}, as its command says, found it elsewhere; resume it in "
            "a terminal"
        )
    return run.root.parents[parts - 1] if parts else run.root
