"""Tie images together by folders or file names, such as those of one patient."""

import itertools
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from tumorboard.errors import UsageError


def compile_expression(pattern: str) -> re.Pattern[str]:
    """Compile the expression of --group-by-name.

    Raises:
        UsageError: No regular expression, or one without a capture group.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UsageError(
            f"expected a regular expression as --group-by-name, found {pattern[:60]!r} ({error})"
        ) from error
    if not expression.groups:
        raise UsageError(
            f"expected a group in brackets in --group-by-name, found none in {pattern[:60]!r}; "
            r"for example '\((\d+)\)\.png$'"
        )
    return expression


def captured(expression: re.Pattern[str], name: str, label: str, across_classes: bool) -> str:
    """Return the group of a file: the class and what the expression captures in its name; "" without a match.

    Args:
        expression: From `compile_expression`; searched in the name.
        name: The file's name, without folders.
        label: Its class.
        across_classes: Images of different classes may be of one group: the class is no part of it.
    """
    match = expression.search(name)
    if match is None:
        return ""
    return "/".join(([] if across_classes else [label]) + [part or "" for part in match.groups()])


def names_below_class(ids: Sequence[str], splits: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Return for each image its path below the folder that all images of its split and class share.

    Args:
        ids: Paths relative to the data's root.
        splits: Of each.
        labels: Of each.
    """
    shared: dict[tuple[str, str], tuple[str, ...]] = {}
    for name, split, label in zip(ids, splits, labels, strict=True):
        folders = PurePosixPath(name).parts[:-1]
        pairs = zip(shared.get((split, label), folders), folders, strict=False)
        shared[split, label] = tuple(
            first for first, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)
        )
    return [
        "/".join(PurePosixPath(name).parts[len(shared[split, label]) :])
        for name, split, label in zip(ids, splits, labels, strict=True)
    ]
