"""A folder of data and runs: what lies below it, found in the files alone, and nothing outside it."""

import contextlib
import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tumorboard.data.class_folders import SPLITS, Entry
from tumorboard.data.class_matching import parse_groups
from tumorboard.data.left_out import ignored
from tumorboard.data.manifest import DataSource, Manifest, Sample, list_files, require_usable, survey
from tumorboard.errors import DataError, display
from tumorboard.run_folder import RunFolder
from tumorboard.run_state import is_run

RUNS, AUDITS, COMPARISONS = FOLDERS = "runs", "audits", "comparisons"
"""Folders of the workspace for what is begun on the page."""

_LONGEST = 1000  # characters of a path
_LEVELS, _MAX_FOLDERS = 3, 5000  # of the search for runs
_SHOWN = 500  # folders and tables of one list
_PICTURES = 6  # of a class
_PROBLEMS = 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
_DEVICES = re.compile(
    r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE
)  # names that Windows keeps
_WINDOWS = re.compile(r"\\|^[A-Za-z]:")


def require_name(name: str) -> str:
    """Return the name of a new run or audit.

    Raises:
        DataError: Not a plain name of a folder on every system.
    """
    if not _NAME.fullmatch(name) or name.endswith(".") or _DEVICES.fullmatch(name):
        raise DataError(
            f"expected a name of letters, digits, dots, dashes and underscores, 60 at most, found "
            f"{display(name, 60)!r}; choose another name"
        )
    return name


@dataclass(frozen=True)
class Workspace:
    """A folder, and what lies below it.

    Args:
        root: Absolute, without links.
    """

    root: Path

    @classmethod
    def of(cls, folder: Path) -> "Workspace":
        """Return the workspace of an existing folder.

        Raises:
            DataError: There is no such folder.
        """
        if not os.path.isdir(folder):
            raise DataError(f"expected a folder at {display(folder)}, found none; check the path")
        return cls(Path(os.path.realpath(folder)))

    def resolve(self, path: str) -> Path:
        """Return the file or folder that a relative path with slashes names; "" is the workspace itself.

        Raises:
            DataError: Nothing is there; or the path is absolute, leads outside, also through a link, names
                something hidden, or is no path on some system.
        """
        parts = path.split("/") if path else []
        refused = (
            len(path) > _LONGEST
            or _WINDOWS.search(path)
            or _steers(path)
            or any(not part or part.startswith(".") for part in parts)
        )
        target = "" if refused else os.path.realpath(os.path.join(self.root, *parts))
        if refused or not self.contains(target):
            raise DataError(
                f"expected a path below the folder of this workspace, found {display(path, 60)!r}; choose "
                "one from the page, or start tumorboard ui in a folder that contains it"
            )
        if not os.path.exists(target):
            raise DataError(
                f"expected a file or folder at {display(path, 60)!r}, found none; reload the page"
            )
        return Path(target)

    def contains(self, path: str | Path) -> bool:
        """Return whether a path, all links followed, is the workspace or lies below it."""
        real = os.path.realpath(path)
        return real == str(self.root) or real.startswith(os.path.join(self.root, ""))

    def relative(self, path: Path) -> str:
        """Return the relative path with slashes that `resolve` takes."""
        text = path.relative_to(self.root).as_posix()
        return "" if text == "." else text

    def runs(self) -> dict[str, RunFolder]:
        """Find the runs, and the audits that were begun on the page, by an id that is safe in an address."""
        found = list(self._find_runs())
        return {run_id(self.relative(run.root)): run for run in sorted(found, key=lambda run: str(run.root))}

    def _find_runs(self) -> Iterator[RunFolder]:
        own = [self.root / name for name in FOLDERS]  # first, however many folders of data there are
        waiting, seen = [*((folder, 1) for folder in own if not folder.is_symlink()), (self.root, 0)], 0
        while waiting and seen < _MAX_FOLDERS:
            folder, level = waiting.pop(0)
            seen += 1
            run = RunFolder(folder)
            if is_run(run):
                if self._stays_inside(run):
                    yield run
            elif level < _LEVELS:
                with contextlib.suppress(OSError), os.scandir(folder) as entries:  # of a class, many files
                    waiting += [
                        (folder / entry.name, level + 1)
                        for entry in entries
                        if entry.is_dir(follow_symlinks=False)
                        and not entry.name.startswith(".")
                        and not (level == 0 and folder / entry.name in own)
                    ]

    def _stays_inside(self, run: RunFolder) -> bool:
        """Return whether no file of a run that is read or written here is a link out of the workspace."""
        files = [
            run.job,
            run.job_process,
            run.queued,
            run.log,
            run.progress,
            run.report,
            run.summary,
            run.environment,
        ]
        files += [run.checksums, run.model("any").parent]
        return all(map(self.contains, files))

    def list_data(self, path: str) -> dict[str, Any]:
        """List the folders and the tables in a folder that may be data.

        Raises:
            DataError: As `resolve`, or it is not a folder.
        """
        folder = self.resolve(path)
        if not folder.is_dir():
            raise DataError(f"expected a folder at {display(path, 60)!r}, found a file")
        folders, files = _list(folder)
        folders = [inside for inside in folders if not is_run(RunFolder(inside))]
        tables = [file.name for file in files if file.suffix.lower() in (".csv", ".tsv")]
        return {
            "path": path,
            "folders": [inside.name for inside in folders[:_SHOWN]],
            "tables": tables[:_SHOWN],
            "left_out": max(len(folders) - _SHOWN, 0) + max(len(tables) - _SHOWN, 0),
        }

    def _resolve_data(self, path: str) -> Path:
        """Return labelled images, in which no link to a folder leads outside; raises as `describe_data`."""
        source = self.resolve(path)
        for folder, below, _ in os.walk(source):  # before anything outside is listed
            for name in below:
                place = Path(folder, name)
                if place.is_symlink() and not self.contains(place):
                    raise self._outside(name)
        return source

    def images(self, path: str, class_map: Sequence[str] = ()) -> dict[str, tuple[str, str, str]]:
        """Return for each labelled image, by its id, its split, its folder or label, and its class.

        Raises:
            DataError: As `describe_data`, but not where classes do not match; they are the folders then.
        """
        source = self._resolve_data(path)
        groups = parse_groups(class_map)
        class_of: Mapping[str, str] = {}
        try:
            listing, matching = survey(DataSource(source, groups))
            class_of = matching.class_of
        except DataError:
            listing = list_files(source, class_map=groups)
        entries = listing.entries
        self._require_inside(entries)
        return {
            entry.id: (entry.split, entry.folder, class_of.get(entry.folder, entry.folder))
            for entry in entries
        }

    def describe_data(
        self, path: str, class_map: Sequence[str] = (), exclude: Iterable[str] = ()
    ) -> dict[str, Any]:
        """Describe labelled images without opening one: classes, counts, groups, and what is left out.

        Args:
            path: Relative to the workspace.
            class_map: As of --class-map.
            exclude: Ids of images that are left out.

        Raises:
            DataError: As `resolve`; the data cannot be used; or images that lie outside the workspace.
            UsageError: A class map that is none.
        """
        source = self._resolve_data(path)
        listing, matching = survey(DataSource(source, parse_groups(class_map), exclude=tuple(exclude)))
        self._require_inside(listing.entries)
        samples = (
            Sample(entry.id, entry.path, entry.split, matching.class_of[entry.folder], entry.group, "")
            for entry in listing.entries
        )
        names = tuple(sorted(set(matching.class_of.values())))
        require_usable(replace(Manifest.of(samples), class_names=names), source.name, listing.problems)
        counts = Counter((matching.class_of[entry.folder], entry.split) for entry in listing.entries)
        pictures: dict[str, list[Entry]] = {}
        for entry in listing.entries:
            pictures.setdefault(matching.class_of[entry.folder], []).append(entry)
        splits = [split for split in ("", *SPLITS) if any(of == split for _, of in counts)]
        groups = {entry.group for entry in listing.entries if entry.group}
        return {
            "path": path,
            "images": len(listing.entries),
            "splits": splits,
            "classes": [
                {
                    "name": name,
                    "folders": sorted({folder for folder in folders if folder and folder != name}),
                    "counts": {split: counts[name, split] for split in splits},
                    "pictures": [self.relative(file) for file in self._sample(pictures.get(name, ()))],
                }
                for name, *folders in matching.rows
            ],
            "folders": {folder: matching.class_of[folder] for folder in sorted(matching.class_of)},
            "groups": len(groups),
            "left_out": [str(entry).replace(f"{self.root}{os.sep}", "") for entry in listing.left_out],
            "problems": [line.replace(f"{self.root}{os.sep}", "") for line in listing.problems[:_PROBLEMS]],
            "problem_count": len(listing.problems),
        }

    def _require_inside(self, entries: Sequence[Entry]) -> None:
        """Check that no image lies outside, by links or in a table."""
        folders = {entry.path.parent for entry in entries}
        outside = {folder for folder in folders if not self.contains(folder)}
        first = next(
            (
                entry
                for entry in entries
                if entry.path.parent in outside or (entry.path.is_symlink() and not self.contains(entry.path))
            ),
            None,
        )
        if first:
            raise self._outside(first.id)

    @staticmethod
    def _outside(name: str) -> DataError:
        return DataError(
            f"expected images below the folder of this workspace, found {display(name, 80)!r} "
            "outside it; move them, or start tumorboard ui in a folder that contains them"
        )

    def _sample(self, entries: Sequence[Entry]) -> list[Path]:
        """Choose a few files, evenly spaced in the list, of names that an address can carry."""
        step = max(len(entries) // _PICTURES, 1)
        real = [Path(os.path.realpath(entry.path)) for entry in entries[::step][:_PICTURES]]
        return [
            path for path in real if not any(part.startswith(".") for part in self.relative(path).split("/"))
        ]


def run_id(path: str) -> str:
    """Return the id of the run at a relative path."""
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _list(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders and files in a folder, by name, without links, hidden ones and odd names."""
    folders, files = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                path = folder / entry.name
                if ignored(path) or entry.is_symlink() or _steers(entry.name):
                    continue
                if entry.is_dir():
                    folders.append(path)
                elif entry.is_file():
                    files.append(path)
    except OSError:
        return [], []
    return sorted(folders), sorted(files)


def _steers(name: str) -> bool:
    return any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
