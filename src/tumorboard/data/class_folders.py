"""Find images in class folders, and files in folders and lists; no image is opened."""

import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tumorboard import text_files
from tumorboard.data.image_reader import require_regular
from tumorboard.errors import DataError, display

SPLITS = ("train", "valid", "test")
SPLIT_NAMES = {
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
LISTS = frozenset({".csv", ".tsv", ".txt", ".xlsx", ".xls", ".ods"})
"""The reader of lists refuses a workbook, and says how to save it."""
_IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".dcm"})


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that should be an image; `folder` is its class as the data spells it."""

    id: str
    path: Path
    split: str
    folder: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything that a folder or a manifest CSV lists.

    Args:
        entries: The files.
        folders: For each split ("" for none) the classes as the data spells them.
        problems: What cannot be used, one line each.
    """

    entries: tuple[Entry, ...]
    folders: Mapping[str, tuple[str, ...]]
    problems: tuple[str, ...]

    @classmethod
    def of(
        cls, entries: Iterable[Entry], folders: Mapping[str, tuple[str, ...]], problems: Sequence[str] = ()
    ) -> "Listing":
        """List the entries that can be samples; the others are problems."""
        lines = {entry: problem_with(entry.path, entry.id) for entry in entries}
        good = tuple(entry for entry, line in lines.items() if not line)
        return cls(good, folders, (*problems, *(line for line in lines.values() if line)))


def problem_with(path: Path, name: str) -> str:
    """Return in one line why a file cannot be a sample; "" if it may be one. Opens nothing.

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


def ignored(path: Path) -> bool:
    """Whether a file or folder of this name is left out silently."""
    name = path.name.casefold()
    return name.startswith(".") or name in _IGNORED or Path(name).stem in _IGNORED_STEMS


def scan(source: Path) -> Listing:
    """List every file of every class folder.

    Raises:
        DataError: The folder is missing, has no class folders, or names its splits in an unknown way.
    """
    root = source.absolute()
    if not root.is_dir():
        raise DataError(
            f"expected a folder of class folders or a manifest CSV, found neither at {display(source)}; "
            "check the path"
        )
    splits, problems = _split_folders(root)
    entries: list[Entry] = []
    folders: dict[str, tuple[str, ...]] = {}
    seen: set[tuple[int, int]] = set()
    for split, split_folder in splits.items():
        class_folders, loose, faults = _list_folder(split_folder)
        folders[split] = tuple(path.name for path in class_folders)
        problems += faults + [_outside(path) for path in loose if split_folder != root]
        for folder in class_folders:
            files_below, faults = _files_below(folder, seen)
            problems += faults
            entries += [
                Entry(file.relative_to(root).as_posix(), file, split, folder.name) for file in files_below
            ]
    if not any(folders.values()):
        raise DataError(
            f"expected class folders in {display(source)}, found none; put each class into its own"
        )
    return Listing.of(entries, folders, problems)


def _split_folders(root: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the folder of each split, or the root as the only one, and problems with other files."""
    inside, loose, problems = _list_folder(root)
    by_split = [(SPLIT_NAMES.get(folder.name.casefold(), ""), folder) for folder in inside]
    problems += [_outside(path) for path in loose]
    if not any(split for split, _ in by_split):
        # Folders that all hold the same folders, and no files, are splits with unknown names, not classes.
        listings = [_list_folder(folder) for folder in inside]
        below = {tuple(folder.name for folder in folders) for folders, _, _ in listings}
        loose_files = any(files_below for _, files_below, _ in listings)
        if len(inside) > 1 and len(below) == 1 and len(below.pop()) > 1 and not loose_files:
            shown = display(", ".join(repr(folder.name) for folder in inside))
            raise DataError(
                f"expected class folders or the splits train, valid and test in {display(root)}, found "
                f"{shown}, which all hold the same folders; rename the splits, or write a manifest CSV"
            )
        return {"": root}, problems
    unknown = [folder.name for split, folder in by_split if not split]
    if unknown:
        raise DataError(
            f"expected the splits train, valid and test in {display(root)}, found also "
            f"{display(', '.join(map(repr, unknown)))}; rename or remove it"
        )
    folders = dict(by_split)
    repeated = sorted(split for split in folders if sum(split == other for other, _ in by_split) > 1)
    if repeated:
        raise DataError(
            f"expected one {repeated[0]} folder in {display(root)}, found several; join or rename them"
        )
    return {split: folders[split] for split in SPLITS if split in folders}, problems


def _files_below(folder: Path, seen: set[tuple[int, int]]) -> tuple[list[Path], list[str]]:
    """Every file below a folder, links followed, no folder entered twice."""
    files_below: list[Path] = []
    problems: list[str] = []
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        if here.suffix.lower() in _IMAGE_SUFFIXES:
            problems.append(f"{display(here)}: expected an image, found a folder; rename or remove it")
            continue
        status = here.stat()
        if (status.st_dev, status.st_ino) in seen:
            problems.append(f"{display(here)}: links to a folder that was read already; remove the link")
            continue
        seen.add((status.st_dev, status.st_ino))
        inside, files_here, faults = _list_folder(here)
        waiting += inside
        files_below += files_here
        problems += faults
    return files_below, problems


def _list_folder(folder: Path) -> tuple[list[Path], list[Path], list[str]]:
    """Folders and everything else in a folder, sorted by name, without what is ignored; and problems."""

    def is_folder(path: Path) -> bool:
        try:
            return stat.S_ISDIR(path.stat().st_mode)
        except OSError:
            return False

    try:
        paths = sorted(path for path in folder.iterdir() if not ignored(path))
    except OSError as error:
        return [], [], [f"{display(folder)}: cannot be listed ({error.strerror}); check its permissions"]
    inside = [path for path in paths if is_folder(path)]
    return inside, sorted(set(paths) - set(inside)), []


def _outside(path: Path) -> str:
    return f"{display(path)}: lies outside the class folders; move or remove it"


def files(sources: Sequence[Path]) -> Iterator[Path]:
    """Yield every file, in an order that a second call repeats; only lists are opened.

    Args:
        sources: Files; folders, for every file below them in the order of names except those that are
            `ignored`; and lists: tables (.csv, .tsv) with a column `path`, or text (.txt) of one path per
            line, relative to the list's folder.

    Raises:
        DataError: A list that cannot be read or of which no file exists, or a table without such a column.
    """
    for source in sources:
        if source.suffix.lower() in LISTS:
            text, root, lines = text_files.read_text(source), source.parent, source.suffix.lower() == ".txt"
            paths = [
                text_files.located(root, name) for name in text_files.paths(text, str(source), root, lines)
            ]
            require_found(paths, source)
            yield from paths
        elif source.is_dir():
            for here, folders, names in os.walk(source):  # links to folders are not followed: no circles
                folders[:] = sorted(name for name in folders if not ignored(Path(name)))
                yield from (Path(here, name) for name in sorted(names) if not ignored(Path(name)))
        else:
            yield source


def require_found(paths: Sequence[Path], source: Path) -> None:
    """Raise DataError if a list or table names files, and none of them exists."""
    if paths and not any(map(os.path.lexists, paths)):
        raise DataError(
            f"expected the files that {display(source)} names, found none of the {len(paths)}, the first "
            f"{display(paths[0])}; write paths relative to the folder of {display(source.name)}"
        )
