"""The errors that Tumorboard raises on purpose, and the exit code of each.

    TumorboardError          1   (also: an unforeseen failure)
    ├── UsageError           2   a flag or argument that does not fit
    ├── DataError            3   images, folders, labels, manifests
    ├── RecipeError          4   settings
    ├── ModelError           5   a model or weights file
    ├── RunFolderError       6   a run folder made with other data or settings, or in use
    ├── TrainingError        7   a fit that cannot go on (NaN, too few images)
    ├── StorageError         8   no space, no permission
    ├── FindingsError        9   the audit found errors or warnings
    └── Interrupted        130   Ctrl-C (143 for SIGTERM); repeat the command to resume

A message is one line: what was expected, what was found and where, what to do.
"""

import re
from collections.abc import Sequence
from pathlib import Path

_LONGEST = 300
WHOLE = 10_000
"""The `longest` of `display` for a list, in which every path stands whole."""


class TumorboardError(Exception):
    """Base of all errors shown to users without a traceback.

    Args:
        message: Expected, found, remedy; made one line of 300 characters at most.
        details: Further lines, for example one for each bad file.
    """

    exit_code = 1

    def __init__(self, message: str, details: Sequence[str] = ()) -> None:
        line = " ".join(message.splitlines())  # names of files and foreign errors may hold line breaks
        super().__init__(line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…")
        self.details = tuple(details)


class UsageError(TumorboardError):
    """A flag or argument that does not fit."""

    exit_code = 2


class DataError(TumorboardError):
    """Images, folders, labels or manifests that cannot be used as they are."""

    exit_code = 3


class RecipeError(TumorboardError):
    """Settings that are unknown or out of range."""

    exit_code = 4


class ImageError(ValueError):
    """An image file that cannot be used; `data.image_reader` makes of it a DataError that names the file.

    Args:
        found: The fault; it follows "found" in the message, and quotes no value of a header.
        remedy: What to do, if it is not to repair or remove the file.
    """

    def __init__(self, found: str, remedy: str = "") -> None:
        super().__init__(found)
        self.remedy = remedy


class ModelError(TumorboardError):
    """A model or weights file that is missing, damaged or of another network."""

    exit_code = 5


class RunFolderError(TumorboardError):
    """A run folder that is in use or was made with other data or settings."""

    exit_code = 6


class TrainingError(TumorboardError):
    """A fit that cannot go on."""

    exit_code = 7


class StorageError(TumorboardError):
    """The disk is full or not writable."""

    exit_code = 8


class FindingsError(TumorboardError):
    """The audit found errors or warnings that are not muted; its report is complete."""

    exit_code = 9


class Interrupted(TumorboardError):
    """The user or the system asked to stop; what was finished is kept."""

    exit_code = 130

    def __init__(self, message: str, signal_number: int = 2) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def display(path: Path | str, longest: int = 100) -> str:
    """Make a path or name fit a one-line message: printable, and without its middle if it is long."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(path))
    start = longest // 3
    return text if len(text) <= longest else f"{text[:start]}...{text[start + 3 - longest :]}"


def file_line(path: Path | str, error: TumorboardError) -> str:
    """Return an error that begins with this path as a line of a list, where the path is not shortened."""
    text, name = str(error), display(path)
    return display(path, WHOLE) + text.removeprefix(name) if text.startswith(name) else text


_STEERS = re.compile("[\x00-\x08\x0b-\x1f\x80-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What steers a terminal or turns the direction of writing; no line break, no tab."""


def for_terminal(text: str) -> str:
    """Return text that may hold names of files and classes so that it can do nothing to a terminal."""
    return _STEERS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def plural(count: int, noun: str, nouns: str = "") -> str:
    """Return `1 image` or `2 images`; `nouns` is a plural that is not formed with s."""
    return f"{count} {noun if count == 1 else nouns or f'{noun}s'}"
