"""Find images in class folders.

    DATA/train/CLASS/...  DATA/valid/CLASS/...  DATA/test/CLASS/...     any of these parts
    DATA/CLASS/...                                                      parts not known yet

Images may lie in folders of any depth below their class. Left out without a word are names that begin
with a dot, `Thumbs.db`, `desktop.ini`, `__MACOSX`, `DICOMDIR`, and files called README or LICENSE;
everything else is a candidate or a problem with a name.
"""

import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tumorboard.data.entries import Entry, Found, fault
from tumorboard.data.reading import display
from tumorboard.errors import DataError

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
