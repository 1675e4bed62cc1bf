"""What a search for images brings back, before anything is matched, hashed or decoded."""

import csv
import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tumorboard.data.image_reader import display, require_regular
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


ROLES = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}
_IGNORED = frozenset({"thumbs.db", "desktop.ini", "__macosx", "dicomdir"})
_IGNORED_STEMS = frozenset({"readme", "license"})
_IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".dcm"})


def scan(source: Path) -> Found:
    """List every file of every class folder; nothing is opened.

    Raises:
        DataError: The folder is missing, has no class folders, or names its parts in an unknown way.
    """
    root = source.absolute()
    if not root.is_dir():
        raise DataError(
            f"expected a folder of class folders or a manifest CSV, found neither at {display(source)}; "
            "check the path"
        )
    parts, problems = _parts(root)
    entries: list[Entry] = []
    folders: dict[str, tuple[str, ...]] = {}
    seen: set[tuple[int, int]] = set()
    for split, part in parts.items():
        classes, loose, faults = _listing(part)
        folders[split] = tuple(path.name for path in classes)
        problems += faults + [_outside(path) for path in loose if part != root]
        for folder in classes:
            files, faults = _files(folder, seen)
            problems += faults
            entries += [Entry(_id(file, root), file, split, folder.name) for file in files]
    if not any(folders.values()):
        raise DataError(
            f"expected class folders in {display(source)}, found none; put each class into its own"
        )
    return with_faults(entries, folders, problems)


def with_faults(
    entries: Iterable[Entry], folders: Mapping[str, tuple[str, ...]], problems: Sequence[str]
) -> Found:
    """Sort out the files that cannot be samples."""
    faults = {entry: fault(entry.path, entry.id) for entry in entries}
    good = tuple(entry for entry, line in faults.items() if not line)
    return Found(good, folders, (*problems, *(line for line in faults.values() if line)))


def _parts(root: Path) -> tuple[dict[str, Path], list[str]]:
    """The folder of each split, or the root itself as the only one; and what lies beside them."""
    inside, loose, problems = _listing(root)
    roles = [(ROLES.get(folder.name.casefold(), ""), folder) for folder in inside]
    problems += [_outside(path) for path in loose]
    if not any(role for role, _ in roles):
        _refuse_unknown_parts(root, inside)
        return {"": root}, problems
    unknown = [folder.name for role, folder in roles if not role]
    if unknown:
        raise DataError(
            f"expected the parts train, valid and test in {display(root)}, found also "
            f"{display(', '.join(map(repr, unknown)))}; rename or remove it"
        )
    twice = sorted({role for role, _ in roles if sum(role == other for other, _ in roles) > 1})
    if twice:
        raise DataError(
            f"expected one {twice[0]} folder in {display(root)}, found several; join or rename them"
        )
    parts = dict(roles)
    return {role: parts[role] for role in ("train", "valid", "test") if role in parts}, problems


def _refuse_unknown_parts(root: Path, inside: Sequence[Path]) -> None:
    """Folders that all hold the same folders, and no files, are parts with unknown names, not classes."""
    listings = [_listing(folder) for folder in inside]
    names = {tuple(folder.name for folder in folders) for folders, _, _ in listings}
    if len(inside) > 1 and len(names) == 1 and len(names.pop()) > 1 and not any(f for _, f, _ in listings):
        shown = display(", ".join(repr(folder.name) for folder in inside))
        raise DataError(
            f"expected class folders or the parts train, valid and test in {display(root)}, found {shown}, "
            "which all hold the same folders; rename the parts, or write a manifest CSV"
        )


def _files(folder: Path, seen: set[tuple[int, int]]) -> tuple[list[Path], list[str]]:
    """Every file below a folder, links followed, no folder entered twice."""
    files: list[Path] = []
    problems: list[str] = []
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        fault_ = _enter(here, seen)
        if fault_:
            problems.append(fault_)
            continue
        inside, found, faults = _listing(here)
        waiting += inside
        files += found
        problems += faults
    return files, problems


def _enter(folder: Path, seen: set[tuple[int, int]]) -> str:
    if folder.suffix.lower() in _IMAGE_SUFFIXES:
        return f"{display(folder)}: expected an image, found a folder; rename or remove it"
    status = folder.stat()
    if (status.st_dev, status.st_ino) in seen:
        return f"{display(folder)}: links to a folder that was read already; remove the link"
    seen.add((status.st_dev, status.st_ino))
    return ""


def _listing(folder: Path) -> tuple[list[Path], list[Path], list[str]]:
    """Folders and everything else in a folder, sorted by name, without what is ignored."""
    try:
        paths = sorted(path for path in folder.iterdir() if not ignored(path))
    except OSError as error:
        return [], [], [f"{display(folder)}: cannot be listed ({error.strerror}); check its permissions"]
    inside = [path for path in paths if _is_folder(path)]
    return inside, sorted(set(paths) - set(inside)), []


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        return False


def ignored(path: Path) -> bool:
    """Whether a file or folder of this name is left out without a word."""
    name = path.name.casefold()
    return name.startswith(".") or name in _IGNORED or Path(name).stem in _IGNORED_STEMS


def _outside(path: Path) -> str:
    return f"{display(path)}: lies outside the class folders; move or remove it"


def _id(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix()


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
