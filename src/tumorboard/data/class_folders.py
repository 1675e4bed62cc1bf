"""Find images in class folders, and files in folders and lists; no image is opened."""

import os
import shlex
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tumorboard import text_files
from tumorboard.data.class_matching import composed
from tumorboard.data.image_reader import require_regular, split_address
from tumorboard.data.left_out import BY_NAME, LINK, WRITTEN, LeftOut, ignored, is_output
from tumorboard.errors import WHOLE, DataError, display, file_line, plural

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
LISTS = frozenset({".csv", ".tsv", ".txt", ".xlsx", ".xls", ".ods"})
"""The reader of lists refuses a workbook, and says how to save it."""
_MASKS = frozenset({"mask", "masks", "segmentation", "segmentations", "annotation", "annotations"})
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
        left_out: What is no input.
    """

    entries: tuple[Entry, ...]
    folders: Mapping[str, tuple[str, ...]]
    problems: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()

    @classmethod
    def of(
        cls,
        entries: Iterable[Entry],
        folders: Mapping[str, tuple[str, ...]],
        problems: Sequence[str] = (),
        left_out: Iterable[LeftOut] = (),
    ) -> "Listing":
        """List the entries that can be samples; the others are problems."""
        lines = {entry: problem_with(entry.path, entry.id) for entry in entries}
        good = tuple(entry for entry, line in lines.items() if not line)
        faults = (*problems, *(line for line in lines.values() if line))
        return cls(good, folders, faults, tuple(left_out))


def problem_with(path: Path, name: str) -> str:
    """Return in one line why a file cannot be a sample; "" if it may be one. Opens nothing.

    Args:
        path: The file.
        name: Its id: UTF-8 without control characters, because tables and reports carry it.
    """
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        return f"{display(path, WHOLE)}: expected a name in UTF-8 without control characters; rename the file"
    try:
        require_regular(path)
    except DataError as error:
        return file_line(path, error)
    return ""


class FolderWalk:
    """Find files below a folder; each folder is entered once, whatever links lead to it.

    Args:
        root: The folder; a link to one that contains it leads in a circle and is not followed.

    Attributes:
        left_out: What is no input.
        repeated: Links to folders that are read anyway.
    """

    def __init__(self, root: Path) -> None:
        self.left_out: list[LeftOut] = []
        self.repeated: list[Path] = []
        self._above = Path(os.path.realpath(root)).parents
        self._entered: set[tuple[int, int]] = set()

    def list_folder(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """Enter a folder; return the folders and everything else in it, by name, without what is no input.

        Raises:
            OSError: It cannot be listed.
        """
        with os.scandir(folder) as entries:
            is_folder = {folder / entry.name: _is_folder(entry) for entry in entries}
        again = _identity(folder) in self._entered
        self._entered.add(_identity(folder))
        by_name = {path for path in is_folder if ignored(path)}
        written = {path for path in is_folder.keys() - by_name if is_output(path)}
        for paths, reason in ((by_name, BY_NAME), (written, WRITTEN)):
            if paths and not again:
                self.left_out.append(LeftOut.of(folder, sorted(path.name for path in paths), reason))
        kept = sorted(is_folder.keys() - by_name - written)
        return [path for path in kept if is_folder[path]], [path for path in kept if not is_folder[path]]

    def below(self, folder: Path, links: list[Path]) -> Iterator[Path]:
        """Yield every file below a folder, by name; those of each folder before those of folders in it.

        A folder that cannot be listed is yielded itself, as is an empty one with the name of an image.

        Args:
            folder: Where to begin.
            links: Gets the links to folders, which are not followed.
        """
        waiting = [folder]
        while waiting:
            here = waiting.pop()
            try:
                if self._is_read(here):
                    self.repeated.append(here)
                    continue
                folders, others = self.list_folder(here)
            except OSError:
                yield here
                continue
            if not folders and not others and here.suffix.lower() in _IMAGE_SUFFIXES:
                yield here
            yield from others
            links += [path for path in folders if path.is_symlink()]
            waiting += [path for path in reversed(folders) if not path.is_symlink()]

    def _is_read(self, folder: Path) -> bool:
        if _identity(folder) in self._entered:
            return True
        return folder.is_symlink() and Path(os.path.realpath(folder)) in self._above


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link to itself
        return False


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def scan(source: Path, classes: Collection[str] = ()) -> Listing:
    """List every file of every class folder.

    Args:
        source: A folder of splits of class folders, or of class folders.
        classes: Folders that are known to be classes, where they might be splits too.

    Raises:
        DataError: The folder is missing, has no class folders, or names its splits in an unknown way.
    """
    root = source.absolute()
    if not root.is_dir():
        raise DataError(
            f"expected a folder of class folders or a manifest CSV, found neither at {display(source)}; "
            "check the path"
        )
    walk = FolderWalk(root)
    splits, problems = _split_folders(root, walk, classes)
    class_folders: list[tuple[str, Path]] = []
    for split, split_folder in splits.items():
        inside, loose, faults = _list_folder(split_folder, walk)
        if loose and not inside and split_folder != root:
            raise _unlabelled(source, split_folder, len(loose))
        class_folders += [(split, folder) for folder in inside]
        problems += faults + [_outside(path) for path in loose if split_folder != root]
    if not class_folders:
        raise DataError(
            f"expected class folders in {display(source)}, found none; put each class into its own"
        )
    folders = {
        split: tuple(dict.fromkeys(composed(path.name) for of, path in class_folders if of == split))
        for split in splits
    }
    entries: list[Entry] = []
    links: dict[tuple[str, Path], list[Path]] = {}
    # Links come last: a folder belongs to the class that holds it, whatever links to it.
    for split, folder in class_folders:
        is_link = folder.is_symlink() or folder.parent.is_symlink()
        linked = links[split, folder] = [folder] if is_link else []
        files_below = () if is_link else walk.below(folder, linked)
        entries += [_entry(root, file, split, folder) for file in files_below]
    for (split, folder), linked in links.items():
        while linked:
            entries += [_entry(root, file, split, folder) for file in walk.below(linked.pop(0), linked)]
    _require_files(class_folders, entries)
    places = {(entry.path.parent, bool(entry.split)) for entry in entries}  # few, of many images
    masked = {place: mask for place in places if (mask := _mask_folder(root, *place))}
    masks = sorted(set(masked.values()))
    entries = [entry for entry in entries if (entry.path.parent, bool(entry.split)) not in masked]
    problems += [
        f"{display(path, WHOLE)}: masks among the images of a class; move the folder out" for path in masks
    ]
    problems += [
        f"{display(path)}: links to a folder that was read already; remove the link" for path in walk.repeated
    ]
    return Listing.of(entries, folders, problems, walk.left_out)


def _entry(root: Path, file: Path, split: str, class_folder: Path) -> Entry:
    return Entry(file.relative_to(root).as_posix(), file, split, composed(class_folder.name))


def _unlabelled(source: Path, folder: Path, count: int) -> DataError:
    """Return the error for a split of files without class folders."""
    command = f"mv {shlex.quote(display(source / folder.name))} unlabelled"
    return DataError(
        f"expected class folders in {folder.name}, found {plural(count, 'file')} and no class folder, so no "
        f"label; move it out of the data: {command}; after training: tumorboard predict RUN unlabelled"
    )


def _require_files(class_folders: Sequence[tuple[str, Path]], entries: Sequence[Entry]) -> None:
    """Check that no class folder of a split is an empty one that other splits do not have."""
    filled = {(entry.split, entry.folder) for entry in entries}
    for split, folder in class_folders:
        name = composed(folder.name)
        others = [path for of, path in class_folders if of != split]
        if split and (split, name) not in filled and name not in {composed(path.name) for path in others}:
            raise DataError(
                f"expected images in every class folder, found the empty folder {display(folder)}; put the "
                f"images of the class there, or remove it: rmdir {shlex.quote(display(folder))}"
            )


def _mask_folder(root: Path, folder: Path, in_split: bool) -> Path | None:
    """Return the folder of masks, below its class folder, that the files of a folder are in."""
    above = [path for path in (folder, *folder.parents) if path.is_relative_to(root)]
    below_class = above[: -2 - in_split]  # without the root, the split and the class
    return next((path for path in below_class if path.name.casefold() in _MASKS), None)


def _split_folders(
    root: Path, walk: FolderWalk, classes: Collection[str]
) -> tuple[dict[str, Path], list[str]]:
    """Return the folder of each split, or the root as the only one, and problems with other files."""
    inside, loose, problems = _list_folder(root, walk)
    by_split = [(SPLIT_NAMES.get(folder.name.casefold(), ""), folder) for folder in inside]
    problems += [_outside(path) for path in loose]
    if not any(split for split, _ in by_split):
        # Folders that all hold the same folders, and no files, are splits with unknown names, not classes.
        listings = [_list_folder(folder, FolderWalk(root)) for folder in inside]
        below = [[f.name for f in folders if f.name.casefold() not in _MASKS] for folders, _, _ in listings]
        loose_files = any(files_below for _, files_below, _ in listings)
        if (
            len(inside) == 1
            and not loose_files
            and (len(below[0]) > 1 or any(name.casefold() in SPLIT_NAMES for name in below[0]))
        ):
            raise DataError(
                f"expected class folders or the splits train, valid and test in {display(root)}, found only "
                f"the folder {inside[0].name[:60]!r}, which holds "
                f"{display(', '.join(map(repr, below[0])), 60)}; "
                f"give {shlex.quote(display(inside[0]))} instead"
            )
        same = len(inside) > 1 and len(below[0]) > 1 and all(names == below[0] for names in below)
        if same and not loose_files and not {folder.name for folder in inside} <= set(classes):
            raise _ambiguous_layout(root, [folder.name for folder in inside], below[0])
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


def _ambiguous_layout(root: Path, outer: Sequence[str], inner: Sequence[str]) -> DataError:
    """Return the error for folders that all hold the same folders: either may be the classes."""
    shown = ", ".join(map(repr, outer[:3])) + (f" and {len(outer) - 3} more" if len(outer) > 3 else "")
    as_classes = " ".join(f"--class-map {shlex.quote(f'{name}={name}')}" for name in outer[:10])
    return DataError(
        f"expected class folders or the splits train, valid and test in {display(root)}, found "
        f"{display(shown, 60)}, which all hold the same folders; say which are the classes",
        [
            f"if {outer[0]!r} and the like are splits: rename them train, valid and test",
            f"if they are classes, and {inner[0]!r} and the like patients or magnifications: {as_classes}",
            f"if they are patients, and {inner[0]!r} and the like the classes: write a manifest CSV with the "
            "columns path, label and group",
        ],
    )


def _list_folder(folder: Path, walk: FolderWalk) -> tuple[list[Path], list[Path], list[str]]:
    """Return the folders, the other files, and a problem if the folder cannot be listed."""
    try:
        return *walk.list_folder(folder), []
    except OSError as error:
        return [], [], [f"{display(folder)}: cannot be listed ({error.strerror}); check its permissions"]


def _outside(path: Path) -> str:
    return f"{display(path)}: lies outside the class folders; move or remove it"


def files(sources: Sequence[Path], left_out: list[LeftOut] | None = None) -> Iterator[Path]:
    """Yield every file, in an order that a second call repeats.

    Args:
        sources: Files; folders, for every file below them in the order of names, those behind links to
            folders last; and lists: tables (.csv, .tsv) with a column `path`, or text (.txt) of one path per
            line, relative to the list's folder. A folder that cannot be listed is yielded itself.
        left_out: Gets what is no input: see `data.left_out`, and links to folders that are read anyway.

    Raises:
        DataError: A list that cannot be read or of which no file exists, or a table without such a column.
    """
    left_out, written = [] if left_out is None else left_out, dict[Path, list[str]]()
    for source in sources:
        if os.path.isdir(source):
            walk, links = FolderWalk(source), [source]
            while links:
                yield from walk.below(links.pop(0), links)
            left_out += walk.left_out
            left_out += [LeftOut.of(path.parent, [path.name], LINK) for path in walk.repeated]
            continue
        for path in _listed(source) if source.suffix.lower() in LISTS else (source,):
            if is_output(path):
                written.setdefault(path.parent, []).append(path.name)
            else:
                yield path
    left_out += [LeftOut.of(folder, names, WRITTEN) for folder, names in written.items()]


def _listed(source: Path) -> list[Path]:
    text, root, lines = text_files.read_text(source), source.parent, source.suffix.lower() == ".txt"
    paths = [text_files.located(root, name) for name in text_files.paths(text, str(source), root, lines)]
    require_found(paths, source)
    return paths


def require_found(paths: Sequence[Path], source: Path) -> None:
    """Raise DataError if a list or table names files, and none of them exists."""
    if paths and not any(os.path.lexists(split_address(path)[0]) for path in paths):
        raise DataError(
            f"expected the files that {display(source)} names, found none of the {len(paths)}, the first "
            f"{display(paths[0])}; write paths relative to the folder of {display(source.name)}"
        )
