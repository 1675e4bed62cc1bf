"""Find images in a manifest CSV: the columns path and label, and if there split and group.

Paths are relative to the CSV's folder. Further columns are ignored. An empty split is decided later.
"""

import csv
import io
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from tumorboard.data.entries import Entry, Found
from tumorboard.data.folders import ROLES, with_faults
from tumorboard.data.reading import MAX_BYTES, display
from tumorboard.errors import DataError

_NEEDED = ("path", "label")


def read(source: Path) -> Found:
    """List every file of a manifest CSV; the images are not opened.

    Raises:
        DataError: Not a UTF-8 CSV, a column missing, an empty or unknown value, a path twice.
    """
    root = source.absolute().parent
    entries = [_entry(row, line, root, source) for line, row in _records(source)]
    _refuse_repeats(entries, source)
    folders = {
        split: tuple(sorted({entry.folder for entry in entries if entry.split == split}))
        for split in ("train", "valid", "test", "")
    }
    return with_faults(entries, {split: names for split, names in folders.items() if names}, ())


def rows(text: str, source: str) -> list[list[str]]:
    """The rows of a CSV, the header first, empty lines left out.

    Raises:
        DataError: Not a CSV, or a row of another length than the header.
    """
    try:
        found = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error as error:
        raise DataError(
            f"expected a CSV in {display(source)}, found a fault ({error}); repair the file"
        ) from error
    for number, row in enumerate(found[1:], start=2):
        if len(row) != len(found[0]):
            raise DataError(
                f"expected {len(found[0])} columns in {display(source)}, found {len(row)} in row {number}; "
                "repair the row (a comma in a name needs quotes)"
            )
    return found


def _records(source: Path) -> list[tuple[int, Mapping[str, str]]]:
    """Row number and values by lower-case column name."""
    header, *body = rows(_text(source), str(source)) or [[]]
    columns = [name.strip().casefold() for name in header]
    if any(columns.count(name) != 1 for name in _NEEDED) or max(map(columns.count, columns)) > 1:
        raise DataError(
            f"expected the columns path, label and if there split, group (separated by commas, each once) in "
            f"{display(source)}, found {display(', '.join(header))!r}; repair the first line"
        )
    return [
        (number, dict(zip(columns, map(str.strip, row), strict=True)))
        for number, row in enumerate(body, start=2)
    ]


def _text(source: Path) -> str:
    try:
        if source.stat().st_size > MAX_BYTES:
            raise DataError(
                f"expected a manifest CSV, found {display(source)} larger than 1 GiB; split the study"
            )
        return source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"expected a folder or a manifest CSV in UTF-8, found other bytes in {display(source)}; "
            "save it as UTF-8, or unpack it if it is an archive"
        ) from error
    except OSError as error:
        raise DataError(f"cannot read {display(source)}: {error.strerror}; check its permissions") from error


def _entry(row: Mapping[str, str], line: int, root: Path, source: Path) -> Entry:
    split = row.get("split", "").casefold()
    if not row["path"] or not row["label"]:
        raise DataError(
            f"expected a path and a label in row {line} of {display(source)}, found an empty one; fill it in"
        )
    if split and split not in ROLES:
        raise DataError(
            f"expected train, valid, test or nothing as split in row {line} of {display(source)}, "
            f"found {display(split)!r}; correct it"
        )
    path = Path(os.path.normpath(root / row["path"]))
    name = PurePath(os.path.relpath(path, root)).as_posix()
    return Entry(name, path, ROLES.get(split, ""), row["label"], row.get("group", ""))


def _refuse_repeats(entries: Sequence[Entry], source: Path) -> None:
    counts = Counter(entry.id for entry in entries)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if not twice:
        return
    raise DataError(
        f"expected each path once in {display(source)}, found {len(twice)} more than once, "
        f"the first {display(twice[0])}; keep one row of each",
        twice,
    )
