"""Recognise what lies among the images and is no input: files of the system, and what Tumorboard wrote.

What Tumorboard writes for people carries `NOTICE`: pages, tables and JSON as text, PNG images as a comment.
So it is recognised wherever it lies, also after it was copied or renamed.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from PIL.PngImagePlugin import PngInfo

from tumorboard import NOTICE
from tumorboard.errors import DataError, UsageError, display
from tumorboard.predictions import TABLE_START
from tumorboard.run_folder import RunFolder
from tumorboard.run_state import is_run

EXCLUDED_COLUMNS = ("path", "left out because of")
"""Columns of the lists for --exclude that are written."""
SOURCE_COLUMNS = ("path", "label", "split", "group")
RUN_COLUMNS = ("id", "path", "split", "label", "group", "sha256")
"""Columns of the manifest CSVs that are written: for people, and in a run folder."""

UNFINISHED = ".unfinished.jsonl"
"""Ends the name of a file with the rows of a table that is not finished."""

BY_NAME = "left out by name"
WRITTEN = "written by Tumorboard"
LINK = "a link to a folder that is read anyway"
CHOSEN = "left out by choice"

_IGNORED = frozenset({"thumbs.db", "desktop.ini", "__macosx", "dicomdir"})
_IGNORED_STEMS = frozenset({"readme", "license"})
_WITH_NOTICE = frozenset({".csv", ".html", ".json", ".md", ".parquet", ".png", ".svg", ".txt"})
_RECORDS = {
    ".bin": (".xml.json",),
    ".csv": (".svg",),
    ".keras": (".json",),
    ".onnx": (".onnx.json",),
    ".tflite": (".tflite.json",),
    ".xml": (".xml.json",),
}
"""By suffix of a model or of a chart's data, the suffix of the file beside it that carries the notice."""

_HEAD = 1 << 16  # bytes that are searched: a table's header names every class, a page begins with its style
_TABLES = (
    *(",".join(columns) + "\n" for columns in (SOURCE_COLUMNS, RUN_COLUMNS, EXCLUDED_COLUMNS)),
    TABLE_START,
)
_NAMED, _SHOWN = 100, 3  # of the names that a `LeftOut` counts


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Files and folders in one folder that are no input, or images that the user leaves out.

    Attributes:
        folder: Where they are: a path, or the address of an object store.
        names: Their names, 100 at most.
        count: How many they are.
        reason: Why they are left out.
    """

    folder: Path | str
    names: tuple[str, ...]
    count: int
    reason: str

    @classmethod
    def of(cls, folder: Path | str, names: Sequence[str], reason: str) -> "LeftOut":
        """Count these names, and keep the first ones."""
        return cls(folder, tuple(names[:_NAMED]), len(names), reason)

    def __str__(self) -> str:
        more = f" and {self.count - _SHOWN} more" if self.count > _SHOWN else ""
        return f"{display(self.folder)}: {', '.join(map(display, self.names[:_SHOWN]))}{more} ({self.reason})"

    def to_json(self) -> dict[str, object]:
        """Return plain values, with all names that are known."""
        names = list(map(display, self.names))
        return {"folder": display(self.folder), "names": names, "count": self.count, "reason": self.reason}


def ignored(path: Path) -> bool:
    """Return whether a file or folder of this name is no input: hidden, of the system, README or LICENSE."""
    name = path.name.casefold()
    return name.startswith(".") or name in _IGNORED or Path(name).stem in _IGNORED_STEMS


def is_output(path: Path, levels: int = 8) -> bool:
    """Return whether Tumorboard wrote this file, or everything in this folder; links to folders are foreign.

    Folders of runs, of searches and of tables in parts are recognised as a whole, whatever else is in them.

    Args:
        path: A file or a folder.
        levels: How deep a folder is searched; no output is deeper.
    """
    if path.is_symlink() or not os.path.isdir(path):
        return _is_output_file(path)
    if is_run(RunFolder(path)):
        return True
    if os.path.isfile(path / "saved_model.pb"):
        return _has_notice(path.with_name(f"{path.name}.json"))
    try:
        with os.scandir(path) as inside:
            entries = (entry for entry in inside if not ignored(Path(entry.name)))
            first = next(entries, None)
            if first is None or not levels:
                return False
            return all(is_output(path / entry.name, levels - 1) for entry in chain((first,), entries))
    except OSError:
        return False


def _is_output_file(path: Path) -> bool:
    suffix = path.suffix.lower()
    if path.name.endswith(UNFINISHED):
        return True
    records = (path.with_suffix(record) for record in _RECORDS.get(suffix, ()))
    return (suffix in _WITH_NOTICE and _has_notice(path)) or any(map(_has_notice, records))


def _has_notice(path: Path) -> bool:
    try:
        if not os.path.isfile(path):  # opening a pipe would wait for a writer for ever
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD)
            content = head + (_tail(file) if path.suffix == ".parquet" else b"")
    except (OSError, ValueError):
        return False
    return NOTICE.encode() in content or head.startswith(tuple(table.encode() for table in _TABLES))


def _tail(file: BinaryIO) -> bytes:
    """Return the end of a file, where Parquet keeps its metadata."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - _HEAD))
    return file.read()


def png_notice() -> PngInfo:
    """Return what marks a PNG as written by Tumorboard, for `Image.save`."""
    info = PngInfo()
    info.add_text("Comment", NOTICE)
    return info


def nothing_to_read(sources: Sequence[Path | str], left_out: Sequence[LeftOut]) -> DataError:
    """Return the error for sources in which no file is input."""
    found = f"only files that are no input ({left_out[0]})" if left_out else "no file"
    return DataError(
        f"expected images in {display(sources[0])}, found {found}; check the path", list(map(str, left_out))
    )


def require_replaceable(path: Path) -> None:
    """Check that there is no file at a path, or an empty one, or one that Tumorboard wrote.

    Raises:
        UsageError: There is a file of somebody else.
    """
    if os.path.isfile(path) and path.stat().st_size and not is_output(path):
        raise UsageError(
            f"expected a new file or one that Tumorboard wrote, found another at {display(path)}; "
            "move it, or choose another --out"
        )
