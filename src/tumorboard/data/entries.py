"""What a search for images brings back, before anything is matched, hashed or decoded."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tumorboard.data.reading import display, require_regular
from tumorboard.errors import DataError


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that should be an image; `folder` is its class as the data spells it."""

    id: str
    path: Path
    split: str
    folder: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """Everything that a source holds.

    Args:
        entries: The files.
        folders: For each split ("" for none) the classes as the data spells them.
        problems: What cannot be used, one line each.
    """

    entries: tuple[Entry, ...]
    folders: Mapping[str, tuple[str, ...]]
    problems: tuple[str, ...]


def fault(path: Path, name: str) -> str:
    """Why a file cannot be a sample, as one line; "" if it may be one. Opens nothing.

    Args:
        path: The file.
        name: Its id: UTF-8 without control characters, because tables and reports carry it.
    """
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        return f"{display(path)}: expected a name in UTF-8 without control characters; rename the file"
    try:
        require_regular(path)
    except DataError as error:
        return str(error)
    return ""
