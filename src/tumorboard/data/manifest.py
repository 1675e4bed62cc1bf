"""The samples of a data set: found in class folders or a manifest CSV, and recorded in a run's manifest.csv.

A manifest CSV has the columns path and label, and may have split and group. Paths are relative to the CSV's
folder. Further columns are ignored. An empty split is decided later.
"""

import csv
import io
import itertools
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePath
from urllib.parse import unquote_to_bytes

import numpy as np
import numpy.typing as npt

from tumorboard import storage, text_files
from tumorboard.config import Frames
from tumorboard.data import class_folders, class_matching, volumes
from tumorboard.data.class_folders import SPLIT_NAMES, SPLITS, Entry, Listing, problem_with
from tumorboard.data.dicom import reader as dicom
from tumorboard.data.groups import captured, compile_expression, names_below_class
from tumorboard.data.image_reader import split_address, unusable
from tumorboard.data.left_out import CHOSEN, EXCLUDED_COLUMNS, RUN_COLUMNS, SOURCE_COLUMNS, LeftOut
from tumorboard.errors import DataError, ImageError, UsageError, display, file_line, plural

FOUND_GROUP = "name:"
"""Begins the name of a group that was found in file names, which is evidence and no proof."""


@dataclass(frozen=True, slots=True)
class DataSource:
    r"""Where the images are, and how their classes and groups are read.

    Args:
        path: A folder of splits of class folders, of class folders, or a manifest CSV; text becomes a path.
        class_map: Class name to the folders that are this class.
        merge: New class name to the classes that it takes in.
        skip_bad: Leave out files that cannot be read, instead of refusing to begin.
        group_column: The column of a manifest CSV that names the group (patient); "" for `group`
            or another name of it in `text_files.COLUMNS`.
        group_by_folder: Group the images that have no group yet by the first folder below their class folder,
            whatever their class.
        group_by_name: Group the images that have no group yet by their class and what the capture groups of
            this regular expression find in their file names: with ``^\\d+( \\(\\d+\\))?\\.png`` the files
            ``007.png`` and ``008.png`` of a class are one group, ``007 (2).png`` and ``008 (2).png`` another.
        groups_across_classes: The class is no part of what `group_by_name` finds.
        exclude: Ids of images that are left out.
    """

    path: Path
    class_map: Mapping[str, Sequence[str]] = field(default_factory=dict)
    merge: Mapping[str, Sequence[str]] = field(default_factory=dict)
    skip_bad: bool = False
    group_column: str = ""
    group_by_folder: bool = False
    group_by_name: str = ""
    groups_across_classes: bool = False
    exclude: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    @classmethod
    def of(cls, data: "str | Path | DataSource") -> "DataSource":
        """Return `data` itself, or the source of a path whose folders are the classes."""
        return data if isinstance(data, DataSource) else cls(Path(data))


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of the data set.

    Args:
        id: Path relative to the data's root, POSIX, unique; predictions are joined on it.
        path: Where the file is, absolute; of a volume's slice its address, see `image_reader.split_address`.
        split: "train", "valid", "test", or "" while unknown.
        label: The class.
        group: What a split must not separate, as a patient (of DICOM: `dicom.reader.groups`); it starts with
            `FOUND_GROUP` if file names gave it unasked; "" for none.
        sha256: Of the file's bytes, hex; of a slice of a volume, followed by # and its number.
    """

    id: str
    path: Path
    split: str
    label: str
    group: str
    sha256: str

    @property
    def file_sha256(self) -> str:
        """SHA-256 of the bytes of the file, which the slices of a volume share."""
        return self.sha256.partition("#")[0]

    @property
    def volume(self) -> str:
        """The id of the volume of which this is a slice; "" for any other image."""
        return self.id.rpartition("#")[0] if "#" in self.sha256 else ""

    @property
    def given_group(self) -> str:
        """The group that the user or the data named; "" for none, as for a volume that is one by itself."""
        return "" if self.group.startswith(FOUND_GROUP) or self.group == self.volume else self.group


@dataclass(frozen=True)
class Manifest:
    """Samples sorted by id, and the class names sorted; the samples of one split keep all class names."""

    samples: tuple[Sample, ...]
    class_names: tuple[str, ...]

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> "Manifest":
        """Make a manifest of these samples, with the classes that occur in them."""
        ordered = tuple(sorted(samples, key=lambda sample: sample.id))
        return cls(ordered, tuple(sorted({sample.label for sample in ordered})))

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """Labels as positions in `class_names`, int64 (N,)."""
        return np.array([self.class_names.index(sample.label) for sample in self.samples], np.int64)

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the samples, in order."""
        return tuple(sample.id for sample in self.samples)

    @property
    def groups(self) -> dict[str, str]:
        """Group (patient) by id, of the samples that have one."""
        return {sample.id: sample.group for sample in self.samples if sample.group}

    def select(self, split: str) -> "Manifest":
        """Select the samples of one split, in the same order."""
        return replace(self, samples=tuple(s for s in self.samples if s.split == split))

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Number of images by split and class; every split that occurs names every class."""
        counts = Counter((sample.split, sample.label) for sample in self.samples)
        splits = [split for split in (*SPLITS, "") if any(s == split for s, _ in counts)]
        return {split: {name: counts[split, name] for name in self.class_names} for split in splits}


@dataclass(frozen=True, slots=True)
class Loaded:
    """The images of a data source.

    Args:
        source: Where they were found.
        manifest: Every regular file; whether it is an image shows when it is decoded.
        matching: How class folders were matched across splits.
        problems: What cannot be used, one line each; `image_cache.decode` reports them with its own.
        left_out: What is no input.
    """

    source: DataSource
    manifest: Manifest
    matching: class_matching.Matching
    problems: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()


def load(
    data: str | Path | DataSource,
    leave_out: str | None = None,
    *,
    new_splits: bool = False,
    frames: Frames = "refuse",
) -> Loaded:
    """Find the images of a data set in class folders, or in a manifest CSV, and hash them.

    Args:
        data: Class folders or a manifest CSV, as a path or with how the classes are read.
        leave_out: A split whose files are not opened, and are not in the manifest.
        new_splits: Whether the splits will be made anew, so that one may lack a class.
        frames: The slices of volumes that are samples; those of a volume without a group are one group.

    Raises:
        DataError: No such source, an unknown layout, classes that cannot be matched, or too few images.
    """
    source = DataSource.of(data)
    expression = compile_expression(source.group_by_name) if source.group_by_name else None
    listing, matching = survey(source, new_splits=new_splits)
    entries = [entry for entry in listing.entries if entry.split != leave_out]
    if not all(entry.group for entry in entries):
        try:
            groups = dicom.groups([split_address(entry.path)[0] for entry in entries])
        except ImageError as error:
            raise DataError(
                f"cannot tell which DICOM files show one patient in {display(source.path)}: found {error}; "
                "free memory and repeat, or name the groups in a manifest CSV"
            ) from error
        # A patient whom the table names at some files only is the same patient at the others.
        names: dict[str, set[str]] = {}
        for entry, group in zip(entries, groups, strict=True):
            names.setdefault(group, set()).update({entry.group} - {""})
        patient = {group: min(of) for group, of in names.items() if group and len(of) == 1}
        entries = [
            replace(entry, group=entry.group or patient.get(group, group))
            for entry, group in zip(entries, groups, strict=True)
        ]

    def sha256(path: Path) -> str | OSError:
        try:
            return storage.sha256(path)
        except OSError as error:
            return error

    entries = _slices(entries, frames, source.path)
    files = dict.fromkeys(split_address(entry.path)[0] for entry in entries)
    with ThreadPoolExecutor(2) as pool:
        digests = dict(zip(files, pool.map(sha256, files), strict=True))
    samples, problems = [], list(listing.problems)
    for entry in entries:
        file, number = split_address(entry.path)
        digest = digests[file]
        if isinstance(digest, OSError):
            fault = unusable(entry.path, f"a file that cannot be read ({digest.strerror})")
            problems.append(file_line(entry.path, fault))
        else:
            label = matching.class_of[entry.folder]
            digest = f"{digest}#{number}" if number else digest
            samples.append(Sample(entry.id, entry.path, entry.split, label, entry.group, digest))
    samples = _grouped(samples, source, expression)
    # A class whose every file is unusable stays a class, so that it is missed below.
    manifest = replace(Manifest.of(samples), class_names=tuple(sorted(set(matching.class_of.values()))))
    require_usable(manifest, str(source.path), problems, by_split=not new_splits)
    return Loaded(source, manifest, matching, tuple(problems), listing.left_out)


def survey(source: DataSource, *, new_splits: bool = False) -> tuple[Listing, class_matching.Matching]:
    """List the files of a data set, and match its classes across splits; raises as `load`."""
    listing = _without(list_files(source.path, source.group_column, source.class_map), source)
    if not listing.folders:
        raise DataError(f"expected images in {display(source.path)}, found no row of any; add some")
    _require_labels(listing, source)
    # Train will be made of samples of no split yet, so these count as train.
    train = "train" if "train" in listing.folders else ""
    folders: dict[str, set[str]] = {}
    for split in ("train", "", "valid", "test"):
        if split in listing.folders:
            folders.setdefault(split or train, set()).update(listing.folders[split])
    matching = class_matching.match(
        folders,
        source.class_map,
        source.merge,
        source=shlex.quote(display(source.path, 60)),
        complete=not new_splits,
    )
    return listing, matching


def _without(listing: Listing, source: DataSource) -> Listing:
    """Leave out the images of `source.exclude`; a name of none is an error: its image would stay in."""
    excluded = set(source.exclude)
    unknown = sorted(excluded - {entry.id for entry in listing.entries})
    if unknown:
        raise DataError(
            f"expected every image to leave out in {display(source.path)}, found {len(unknown)} of "
            f"{len(excluded)} missing, the first {display(unknown[0])!r}; take those out of the list",
            unknown,
        )
    if not excluded:
        return listing
    kept = tuple(entry for entry in listing.entries if entry.id not in excluded)
    chosen = LeftOut.of(source.path, sorted(excluded), CHOSEN)
    return replace(listing, entries=kept, left_out=(*listing.left_out, chosen))


def _slices(entries: Sequence[Entry], frames: Frames, source: Path) -> list[Entry]:
    """Replace each volume by its chosen slices; the files of a series have one class and one split.

    Raises:
        DataError: A volume of `source` is named, and a slice of it as well.
    """
    by_path = {entry.path: entry for entry in entries}
    ordered = sorted(entries, key=lambda entry: (entry.split, entry.folder, entry.path.parent))
    found = []
    for _, alike in itertools.groupby(ordered, key=lambda entry: (entry.split, entry.folder)):
        for path in volumes.expanded([entry.path for entry in alike], frames):
            entry = by_path.get(path) or by_path[split_address(path)[0]]
            name = entry.id.removesuffix(entry.path.name) + path.name
            found.append(replace(entry, id=name, path=path))
    repeated = _repeated(found)
    if repeated:
        raise DataError(
            f"expected each slice once in {display(source)}, found {len(repeated)} more than once, "
            f"the first {display(repeated[0])}; name the volume or its slices, not both",
            repeated,
        )
    return found


def _repeated(entries: Iterable[Entry]) -> list[str]:
    return sorted(name for name, count in Counter(entry.id for entry in entries).items() if count > 1)


def _require_labels(listing: Listing, source: DataSource) -> None:
    """Check that no class is what a table or a script writes in the place of a missing label."""
    known = {name for members in source.class_map.values() for name in members}
    names = {name for names in listing.folders.values() for name in names if is_missing(name)} - known
    if names:
        name, unlabelled = min(names), [entry.id for entry in listing.entries if entry.folder in names]
        raise DataError(
            f"expected a class for every image of {display(source.path)}, found "
            f"{plural(len(unlabelled), 'image')} of {name!r}, which stands for a missing label; label or "
            f"remove them, or keep it as a class with --class-map {shlex.quote(f'{name}={name}')}",
            unlabelled,
        )


def is_missing(cell: str) -> bool:
    """Return whether a cell of a table stands for no value, as pandas and R write it."""
    return cell.casefold() in ("", "nan", "<na>", "na", "n/a", "#n/a", "nat", "null")


def _grouped(samples: list[Sample], source: DataSource, expression: re.Pattern[str] | None) -> list[Sample]:
    """Give groups to the samples without one, by folder and by name.

    Raises:
        UsageError: A way of grouping that gives none to any sample.
    """
    if source.group_by_folder:
        columns = ([sample.id for sample in samples], [s.split for s in samples], [s.label for s in samples])
        below = names_below_class(*columns)
        folders = [name.partition("/")[0] if "/" in name else "" for name in below]
        samples = _with_groups(
            samples, folders, "--group-by-folder to find a folder per patient in each class folder"
        )
    if expression is not None:
        across = source.groups_across_classes
        groups = [captured(expression, split_address(s.path)[0].name, s.label, across) for s in samples]
        samples = _with_groups(
            samples, groups, f"--group-by-name {source.group_by_name[:60]!r} to match file names"
        )
    # Slices of one volume are of one patient, whoever that is.
    slices = Counter(sample.volume for sample in samples)
    return [
        replace(sample, group=sample.group or (sample.volume if slices[sample.volume] > 1 else ""))
        for sample in samples
    ]


def _with_groups(samples: list[Sample], groups: Sequence[str], expectation: str) -> list[Sample]:
    grouped = [
        replace(sample, group=sample.group or group) for sample, group in zip(samples, groups, strict=True)
    ]
    if grouped == samples:
        raise UsageError(
            f"expected {expectation}, found none without a group yet; leave it out or correct it"
        )
    return grouped


def splits(source: Path, class_map: Mapping[str, Sequence[str]] = {}) -> frozenset[str]:
    """Find the splits that the data comes in, "" for unknown; no image is opened.

    Raises:
        DataError: No such source, or an unknown layout.
    """
    return frozenset(list_files(source, class_map=class_map).folders)


def list_files(source: Path, group_column: str = "", class_map: Mapping[str, Sequence[str]] = {}) -> Listing:
    """List the files of a data set, with their classes as the data spells them; raises as `load`."""
    if source.is_file():
        return list_csv(source, group_column)
    if group_column:
        raise UsageError(
            f"expected a manifest CSV with --group-column, found the folder {display(source)}; "
            "use --group-by-folder or --group-by-name"
        )
    return class_folders.scan(source, {name for members in class_map.values() for name in members})


def require_usable(
    manifest: Manifest, source: str, problems: Sequence[str] = (), *, by_split: bool = True
) -> None:
    """Check that there are images of two classes at least, two of each to learn from.

    Args:
        manifest: The samples.
        source: What they are called in errors.
        problems: Details of an error.
        by_split: Whether every split must have images of every class.

    Raises:
        DataError: Says what is missing in `source`, with `problems` as details.
    """
    where, names = display(source), manifest.class_names
    if not manifest.samples:
        raise DataError(f"expected images in class folders of {where}, found none; add some", problems)
    if len(names) < 2:
        raise DataError(f"expected two classes in {where}, found {names[0][:60]!r}; add another", problems)
    # Images of no split yet count as train.
    purposes: dict[str, tuple[int, Counter[str]]] = {}
    for split, counts in manifest.counts.items():
        to_train = split in ("train", "") or not by_split
        aim = "to train on " if "train" in manifest.counts else ""  # images of no split may be for evaluation
        purpose, least = (aim, 2) if to_train else (f"in {split} ", 1)
        purposes[purpose] = (least, purposes.get(purpose, (least, Counter()))[1] + Counter(counts))
    for purpose, (least, total) in purposes.items():
        few = [name for name in names if total[name] < least]
        if few:
            remedy = f"found {total[few[0]]} of {few[0][:60]!r}; add some, remove the class or --merge it"
            raise DataError(
                f"expected {least} images or more of every class {purpose}in {where}, {remedy}", problems
            )


def list_csv(source: Path, group_column: str = "") -> Listing:
    """List every file of a manifest CSV; the images are not opened.

    Raises:
        DataError: No table, a column missing, an empty or unknown value, a path twice, no file that exists.
    """
    where, root = display(source), source.absolute().parent
    table = text_files.rows(text_files.read_text(source), str(source))
    header = next(table, text_files.Row(1, [])).cells
    places = text_files.places(header, str(source), SOURCE_COLUMNS[:2], SOURCE_COLUMNS[2:])
    if group_column:
        places["group"] = text_files.place_of(header, str(source), group_column, "--group-column")
    entries = []
    for line, cells in table:
        row = {column: text_files.clean(cells[place]) for column, place in places.items()}
        split, group = ("" if is_missing(row.get(name, "")) else row[name] for name in SOURCE_COLUMNS[2:])
        split = split.casefold()
        if not row["path"] or not row["label"]:
            raise DataError(
                f"expected a path and a label in line {line} of {where}, found an empty one; fill it in"
            )
        if split and split not in SPLIT_NAMES:
            raise DataError(
                f"expected train, valid, test or nothing as split in line {line} of {where}, "
                f"found {display(split)!r}; correct it"
            )
        path = Path(os.path.normpath(text_files.located(root, row["path"])))
        name = PurePath(os.path.relpath(path, root)).as_posix()
        label = class_matching.composed(row["label"])
        entries.append(Entry(name, path, SPLIT_NAMES.get(split, ""), label, group))
    repeated = _repeated(entries)
    if repeated:
        raise DataError(
            f"expected each path once in {where}, found {len(repeated)} more than once, "
            f"the first {display(repeated[0])}; keep one row of each",
            repeated,
        )
    folders = {
        split: tuple(sorted({entry.folder for entry in entries if entry.split == split}))
        for split in (*SPLITS, "")
    }
    class_folders.require_found([entry.path for entry in entries], source)
    return Listing.of(entries, {split: names for split, names in folders.items() if names})


def write_csv(manifest: Manifest) -> str:
    """Write the manifest as CSV text with the columns `RUN_COLUMNS`, as a run records it.

    A path below a folder whose name is not UTF-8 is written as a file: URI.
    """

    def text(path: Path) -> str:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            return path.as_uri()
        return str(path)

    return _csv(
        [RUN_COLUMNS, *((s.id, text(s.path), s.split, s.label, s.group, s.sha256) for s in manifest.samples)]
    )


def read_csv(text: str, source: str) -> Manifest:
    """Read what `write_csv` wrote; `source` is named in errors.

    Raises:
        DataError: Other columns, or a row that does not fit them.
    """
    rows = [cells for _, cells in text_files.rows(text, source)]
    if not rows or tuple(rows[0]) != RUN_COLUMNS:
        raise DataError(
            f"expected the columns {','.join(RUN_COLUMNS)} in {display(source)}, found others; "
            "restore the file"
        )

    def path(text: str) -> Path:
        uri = text.removeprefix("file://")
        return Path(text if uri == text else os.fsdecode(unquote_to_bytes(uri)))

    return Manifest.of(Sample(row[0], path(row[1]), *row[2:]) for row in rows[1:])


def write_source_csv(manifest: Manifest, file: Path) -> str:
    """Write the samples as the text of a manifest CSV at `file`, which `load` reads back.

    Raises:
        DataError: An image that cannot be named in a CSV at that place.
    """
    root, rows = file.absolute().parent, [SOURCE_COLUMNS]
    for sample in manifest.samples:
        name = PurePath(os.path.relpath(sample.path, root)).as_posix()
        problem = problem_with(Path(os.path.normpath(root / name)), name)
        if problem:
            raise DataError(f"the CSV cannot name an image from there: {problem}; or choose another --out")
        rows.append((_kept_whole(name), sample.label, sample.split, sample.group))
    return _csv(rows)


def write_excluded_csv(excluded: Mapping[str, str]) -> str:
    """Write a list for --exclude: the ids of images, and why each is left out."""
    return _csv([EXCLUDED_COLUMNS, *((_kept_whole(name), reason) for name, reason in excluded.items())])


def _kept_whole(name: str) -> str:
    """Return a path for a cell: readers strip the blanks around a value; what is added changes no path."""
    stripped = text_files.clean(name)
    before, after = "./" * (not name.startswith(stripped)), "/." * (not name.endswith(stripped))
    return f"{before}{name}{after}"


def _csv(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
