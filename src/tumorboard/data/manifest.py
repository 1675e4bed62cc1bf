"""The samples of a study: where each image lies, what it shows, which part it belongs to."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tumorboard import storage
from tumorboard.data import classes, folders, tables
from tumorboard.data.dicom.groups import filled
from tumorboard.data.entries import Entry, Found
from tumorboard.data.reading import display, unusable
from tumorboard.errors import DataError

COLUMNS = ("id", "path", "split", "label", "group", "sha256")


@dataclass(frozen=True, slots=True)
class Sample:
    """One image of the study.

    Args:
        id: Path relative to the data's root, POSIX, unique; predictions are joined on it.
        path: Where the file is, absolute.
        split: "train", "valid", "test", or "" while unknown.
        label: The class.
        group: What must not be torn apart by a split, as a patient (of DICOM: `dicom.groups`); "" for none.
        sha256: Of the file's bytes, hex.
    """

    id: str
    path: Path
    split: str
    label: str
    group: str
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Samples sorted by id, and the class names sorted; a part keeps the class names of the whole."""

    samples: tuple[Sample, ...]
    class_names: tuple[str, ...]

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> "Manifest":
        """A manifest of these samples, with the classes that occur in them."""
        ordered = tuple(sorted(samples, key=lambda sample: sample.id))
        return cls(ordered, tuple(sorted({sample.label for sample in ordered})))

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """Positions in `class_names`, int64 (N,)."""
        return np.array([self.class_names.index(sample.label) for sample in self.samples], np.int64)

    @property
    def ids(self) -> tuple[str, ...]:
        """The samples' ids, in order."""
        return tuple(sample.id for sample in self.samples)

    @property
    def groups(self) -> dict[str, str]:
        """By id its group (patient), of the samples that have one."""
        return {sample.id: sample.group for sample in self.samples if sample.group}

    def part(self, split: str) -> "Manifest":
        """The samples of one split, in the same order."""
        return replace(self, samples=tuple(s for s in self.samples if s.split == split))

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Number of images by split and class; every split that occurs names every class."""
        found = Counter((sample.split, sample.label) for sample in self.samples)
        splits = [split for split in ("train", "valid", "test", "") if any(s == split for s, _ in found)]
        return {split: {name: found[split, name] for name in self.class_names} for split in splits}


@dataclass(frozen=True, slots=True)
class Loaded:
    """What `load` found.

    Args:
        manifest: Every regular file; whether it is an image shows when it is decoded.
        matching: How class folders were matched across splits.
        problems: What cannot be used, one line each; `cache.decode` reports them with its own.
    """

    manifest: Manifest
    matching: classes.Matching
    problems: tuple[str, ...]


def load(
    source: Path,
    class_map: Mapping[str, Sequence[str]] = {},
    merge: Mapping[str, Sequence[str]] = {},
    leave_out: str | None = None,
) -> Loaded:
    """Find the images of a study in class folders, or in a manifest CSV, and hash them.

    Args:
        source: A folder of splits of class folders, of class folders, or a CSV (see `folders`, `tables`).
        class_map: Class name to the folders that are this class.
        merge: New class name to the classes that it takes in.
        leave_out: A split whose files are not opened, and are not in the manifest.

    Raises:
        DataError: No such source, an unknown layout, classes that cannot be matched, or too few images.
    """
    found = _found(source)
    if not found.folders:
        raise DataError(f"expected images in {display(str(source))}, found no row of any; add some")
    matching = classes.match(_by_split(found), class_map, merge)
    entries = [entry for entry in found.entries if entry.split != leave_out]
    samples, problems = _hashed(filled(entries), matching)
    # A class whose every file is unusable stays a class, so that it is missed below.
    manifest = replace(Manifest.of(samples), class_names=tuple(sorted(set(matching.class_of.values()))))
    problems = [*found.problems, *problems]
    require_usable(manifest, str(source), problems)
    return Loaded(manifest, matching, tuple(problems))


def parts(source: Path) -> frozenset[str]:
    """The splits that the data comes in, "" for unknown; no image is opened.

    Raises:
        DataError: No such source, or an unknown layout.
    """
    return frozenset(_found(source).folders)


def _found(source: Path) -> Found:
    return tables.read(source) if source.is_file() else folders.scan(source)


def require_usable(manifest: Manifest, source: str, problems: Sequence[str] = ()) -> None:
    """Check that there are images of two classes at least, two of each to learn from.

    Raises:
        DataError: Says what is missing in `source`, with `problems` as details.
    """
    where, names = display(source), manifest.class_names
    if not manifest.samples:
        raise DataError(f"expected images in class folders of {where}, found none; add some", problems)
    if len(names) < 2:
        raise DataError(f"expected two classes in {where}, found {names[0][:60]!r}; add another", problems)
    for part, (least, counts) in _demands(manifest).items():
        few = [name for name in names if counts[name] < least]
        if few:
            found = f"found {counts[few[0]]} of {few[0][:60]!r}; add some, leave it out or --merge it"
            raise DataError(
                f"expected {least} images or more of every class {part} in {where}, {found}", problems
            )


def _demands(manifest: Manifest) -> dict[str, tuple[int, Counter[str]]]:
    """How many images of a class each part needs, and has; what is of no part yet counts as train."""
    found: dict[str, tuple[int, Counter[str]]] = {}
    for split, counts in manifest.counts.items():
        part, least = ("to train on", 2) if split in ("train", "") else (f"in {split}", 1)
        found[part] = (least, found.get(part, (least, Counter()))[1] + Counter(counts))
    return found


def write_csv(manifest: Manifest) -> str:
    """The manifest as CSV text with the columns id, path, split, label, group, sha256."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((s.id, str(s.path), s.split, s.label, s.group, s.sha256) for s in manifest.samples)
    return text.getvalue()


def read_csv(text: str, source: str) -> Manifest:
    """Read what `write_csv` wrote; `source` is named in errors.

    Raises:
        DataError: Other columns, or a row that does not fit them.
    """
    rows = tables.rows(text, source)
    if not rows or tuple(rows[0]) != COLUMNS:
        raise DataError(
            f"expected the columns {','.join(COLUMNS)} in {display(source)}, found others; restore the file"
        )
    return Manifest.of(Sample(row[0], Path(row[1]), *row[2:]) for row in rows[1:])


def _by_split(found: Found) -> dict[str, set[str]]:
    """Class folders by split; train will be made of samples of no split yet, so these count as train."""
    own = "train" if "train" in found.folders else ""
    names: dict[str, set[str]] = {}
    for split in ("train", "", "valid", "test"):
        if split in found.folders:
            names.setdefault(split or own, set()).update(found.folders[split])
    return names


def _hashed(entries: Sequence[Entry], matching: classes.Matching) -> tuple[list[Sample], list[str]]:
    with ThreadPoolExecutor(2) as pool:
        digests = list(pool.map(_sha256, (entry.path for entry in entries)))
    samples, problems = [], []
    for entry, (digest, problem) in zip(entries, digests, strict=True):
        if problem:
            problems.append(problem)
        else:
            label = matching.class_of[entry.folder]
            samples.append(Sample(entry.id, entry.path, entry.split, label, entry.group, digest))
    return samples, problems


def _sha256(path: Path) -> tuple[str, str]:
    try:
        return storage.sha256(path), ""
    except OSError as error:
        return "", str(unusable(path, f"a file that cannot be read ({error.strerror})"))
