"""`tumorboard completion`: a script with which a shell completes commands, flags and files."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from tumorboard import optional
from tumorboard.cli.options import command

_SHELLS = ("bash", "zsh", "fish", "tcsh")


def add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", whole: argparse.ArgumentParser
) -> None:
    """Add the command; `whole` is the parser whose commands are completed."""
    completion = command(
        commands,
        "completion",
        "print a script that lets your shell complete commands, flags and files",
        "  tumorboard completion bash > ~/.local/share/bash-completion/completions/tumorboard\n"
        "  tumorboard completion zsh > ~/.zfunc/_tumorboard     (with fpath+=~/.zfunc in ~/.zshrc)\n"
        "  tumorboard completion fish > ~/.config/fish/completions/tumorboard.fish\n"
        "Then open a new shell. It needs the package shtab.",
        lambda options: _print(whole, options.shell),
    )
    completion.add_argument("shell", choices=_SHELLS, help="yours")


def _print(parser: argparse.ArgumentParser, shell: str) -> None:
    optional.require("completion", "shtab", extra="completion")
    import shtab

    for action in _actions(parser):
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    sys.stdout.write(shtab.complete(parser, shell) + "\n")


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _actions(below)
