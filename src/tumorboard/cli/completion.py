"""`tumorboard completion`: a script with which a shell completes commands, flags and files."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from tumorboard import optional
from tumorboard.cli.options import command, write

SHELLS = ("bash", "zsh", "fish", "tcsh")


def add_completion(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", parser: argparse.ArgumentParser
) -> None:
    """Add the command; `parser` is the one whose commands are completed."""

    def print_script(options: argparse.Namespace) -> None:
        optional.require("completion", "shtab", extra="completion")
        import shtab

        for action in _actions(parser):
            if action.type is Path:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        write(shtab.complete(parser, options.shell) + "\n")

    completion = command(
        commands,
        "completion",
        "print a script that lets a shell complete commands, flags and files",
        "  tumorboard completion bash > ~/.local/share/bash-completion/completions/tumorboard\n"
        "  tumorboard completion zsh > ~/.zfunc/_tumorboard     (with fpath+=~/.zfunc in ~/.zshrc)\n"
        "  tumorboard completion fish > ~/.config/fish/completions/tumorboard.fish\n"
        "Then open a new shell. Requires the package shtab.",
        print_script,
    )
    completion.add_argument("shell", choices=SHELLS, help="the shell")


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the actions of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _actions(below)
