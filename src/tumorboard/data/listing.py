"""The files that a user names: files, folders of any depth, lists; one at a time, never all in memory."""

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tumorboard.data.folders import ignored
from tumorboard.data.reading import display
from tumorboard.errors import DataError


def files(sources: Sequence[Path]) -> Iterator[Path]:
    """Every file, in an order that a second call repeats; none is opened but the lists.

    Args:
        sources: Files; folders, for every file below them in the order of names, but for those that `folders`
            ignores; and CSVs with a column `path`, relative to the CSV's folder.

    Raises:
        DataError: A CSV that cannot be read or has no such column.
    """
    for source in sources:
        if source.suffix.lower() == ".csv":
            yield from _listed(source)
        elif source.is_dir():
            yield from _below(source)
        else:
            yield source


def _below(folder: Path) -> Iterator[Path]:
    """Links to folders are not followed, so there is no way round."""
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not ignored(Path(name)))
        yield from (Path(here, name) for name in sorted(names) if not ignored(Path(name)))


def _listed(source: Path) -> Iterator[Path]:
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            column = _column(next(rows, []), source)
            for row in rows:
                if row:
                    yield source.parent / _path(row, column, rows.line_num, source)
    except UnicodeDecodeError as error:
        raise DataError(f"expected a CSV in UTF-8, found other bytes in {display(source)}") from error
    except csv.Error as error:
        raise DataError(f"expected a CSV in {display(source)}, found a fault ({error}); repair it") from error
    except OSError as error:
        raise DataError(
            f"cannot read the list {display(source)}: {error.strerror}; check its path"
        ) from error


def _column(header: list[str], source: Path) -> int:
    names = [name.strip().casefold() for name in header]
    if names.count("path") != 1:
        found = display(", ".join(header))
        raise DataError(
            f"expected a column path in {display(source)}, found {found!r}; the first line names the columns"
        )
    return names.index("path")


def _path(row: list[str], column: int, line: int, source: Path) -> str:
    path = row[column].strip() if column < len(row) else ""
    if not path:
        raise DataError(f"expected a path in line {line} of {display(source)}, found none; fill it in")
    return path
