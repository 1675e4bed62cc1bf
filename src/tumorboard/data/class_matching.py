"""Match the class folders of the splits.

Names are matched with those of the first split (train, if there is one), in three steps, each only
among what the step before left over:

    exact         normal                         normal
    normalised    Large_Cell Carcinoma           large.cell.carcinoma      case and separators . _ - space
    prefix        adenocarcinoma                 adenocarcinoma_left.lower.lobe_T2_N0_M0_Ib

A name with two candidates or with none is an error, never a guess; `--class-map NAME=FOLDER,FOLDER`
decides. A class is called as its shortest folder.
"""

import functools
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tumorboard.errors import DataError, UsageError, display

_SEPARATORS = re.compile(r"[\s._\-]+")


@dataclass(frozen=True, slots=True)
class Matching:
    """The class of every folder.

    Args:
        class_of: Folder name to class name.
        splits: The splits, in the order of the columns of `rows`; "" where the data has none.
        rows: For each class its name, then its folders in each split.
    """

    class_of: Mapping[str, str]
    splits: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def match(
    folders: Mapping[str, Collection[str]],
    class_map: Mapping[str, Sequence[str]] = {},
    merge: Mapping[str, Sequence[str]] = {},
    *,
    source: str = "DATA",
    complete: bool = True,
) -> Matching:
    """Match class folders across splits, then merge classes.

    Args:
        folders: For each split its class folders; the first split is the one to match with.
        class_map: Class name to the folders that are this class, in whatever split.
        merge: New class name to the classes that it takes in, after matching.
        source: What a command in an error calls the data.
        complete: Whether every split must have every class.

    Raises:
        DataError: An ambiguous or unmatched folder, or a name in `class_map` or `merge` that is not there.
    """
    class_map, merge = (
        {composed(name): tuple(map(composed, members)) for name, members in groups.items()}
        for groups in (class_map, merge)
    )
    every = {name for names in folders.values() for name in names}
    mapped = _group_of_each(class_map, every, "--class-map", "folder")
    names = {split: sorted({mapped.get(name, name) for name in of}) for split, of in folders.items()}
    called: dict[str, str] = {}
    for cluster in _clusters(names, source, complete):
        shortest = min(cluster, key=lambda name: (name not in class_map, len(name), name))
        called |= dict.fromkeys(cluster, shortest)
    classes = set(called.values())
    merged = _group_of_each(merge, classes, "--merge", "class")
    for name in sorted(set(merged.values()) & (classes - set(merged))):
        raise DataError(
            f"--merge {display(name)}=...: a class of that name is there and not in the list; "
            "add it to the list or choose another name"
        )
    class_of = {}
    for folder in sorted(every):
        name = called[mapped.get(folder, folder)]
        class_of[folder] = merged.get(name, name)
    rows = (
        (name, *(", ".join(sorted(f for f in of if class_of[f] == name)) for of in folders.values()))
        for name in sorted(set(class_of.values()))
    )
    return Matching(class_of, tuple(folders), tuple(rows))


def parse_groups(values: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Read the values of `--class-map` or `--merge`, each NAME=A,B.

    Raises:
        UsageError: A value of another form, or a name that occurs twice.
    """
    groups: dict[str, tuple[str, ...]] = {}
    for value in values:
        name, equals, rest = value.partition("=")
        members = tuple(member.strip() for member in rest.split(","))
        if not equals or not name.strip() or not all(members):
            raise UsageError(
                f"expected NAME=A,B (a class, then what belongs to it), found {display(value)!r}"
            )
        if name.strip() in groups or len(set(members)) < len(members):
            raise UsageError(f"expected each name once, found one twice in {display(value)!r}")
        groups[name.strip()] = members
    return groups


def _group_of_each(
    groups: Mapping[str, Sequence[str]], known: set[str], flag: str, what: str
) -> dict[str, str]:
    """The group of each member; every member must be known, and in one group only."""
    group_of: dict[str, str] = {}
    for name, members in groups.items():
        for member in members:
            if member not in known:
                shown = display(", ".join(sorted(known)))
                raise DataError(
                    f"{flag} {display(name)}: no {what} is called {display(member)!r}; known: {shown}",
                    sorted(known),
                )
            if group_of.setdefault(member, name) != name:
                raise DataError(
                    f"{flag}: {what} {display(member)!r} is in {group_of[member]!r} and in {name!r}; "
                    "choose one"
                )
    return group_of


def composed(name: str) -> str:
    """Return a name in the Unicode form in which an accent and its letter are one: macOS takes them apart."""
    return unicodedata.normalize("NFC", name)


def _clusters(names: Mapping[str, Sequence[str]], source: str, complete: bool) -> list[set[str]]:
    """Names of one class together, a set for each name of the first split."""
    (first, reference), *others = names.items()
    lacking: dict[str, list[str]] = {}
    problems = [
        f"{first or 'data'}: {a!r} may be {b!r}"
        for a in reference
        for b in reference
        if a < b and _words(a) == _words(b)
    ]
    clusters = {name: {name} for name in reference}
    for split, split_names in others:
        pairs, faults, missing = _pairs(reference, split_names)
        problems += [f"{split}: {line} ({first})" for line in faults]
        if missing:
            lacking[split] = missing
        for name, partner in pairs.items():
            clusters[partner].add(name)
    members = [name for cluster in clusters.values() for name in cluster]
    problems += [
        f"{name!r} is matched with two classes" for name in sorted(set(members)) if members.count(name) > 1
    ]
    absent = [f"{split}: nothing here for {name!r} ({first})" for split in lacking for name in lacking[split]]
    if absent and complete and not problems:
        split = next(iter(lacking))
        raise DataError(
            f"expected every class in every split, found nothing here for {display(repr(lacking[split][0]))} "
            f"in {split}; add images of it, remove {split} (train then takes its own), or make new splits: "
            f"tumorboard split {source} --out splits.csv",
            absent,
        )
    problems += absent if complete else []
    if problems:
        shown = display("; ".join(problems)) if len(problems) < 3 else f"{len(problems)} listed below"
        raise DataError(
            f"class folders that match no other split's, or more than one: {shown}; say which belong "
            "together with --class-map NAME=FOLDER,FOLDER",
            problems,
        )
    return list(clusters.values())


def _pairs(reference: Sequence[str], names: Sequence[str]) -> tuple[dict[str, str], list[str], list[str]]:
    """Names of a split to names of the reference, what stays ambiguous or alone, and what is missing."""
    pairs = {name: name for name in names if name in reference}
    faults: list[str] = []
    ambiguous: set[str] = set()

    def is_prefix(a: str, b: str) -> bool:
        short, long = sorted((_words(a), _words(b)), key=len)
        return bool(short) and long[: len(short)] == short

    for same in (lambda a, b: _words(a) == _words(b), is_prefix):
        unmatched = [name for name in names if name not in pairs and name not in ambiguous]
        free = [name for name in reference if name not in pairs.values() and name not in ambiguous]
        edges = [(name, other) for name in unmatched for other in free if same(name, other)]
        unique = [edge for edge in edges if sum(bool(set(edge) & set(other)) for other in edges) == 1]
        pairs.update(unique)
        ambiguous.update(name for edge in edges if edge not in unique for name in edge)
        faults += [f"{name!r} may be {other!r}" for name, other in edges if (name, other) not in unique]
    alone = [name for name in names if name not in pairs and name not in ambiguous]
    missing = [name for name in reference if name not in pairs.values() and name not in ambiguous]
    faults += [f"{name!r} has no counterpart" for name in alone]
    return pairs, faults, missing


@functools.cache
def _words(name: str) -> list[str]:
    return [word for word in _SEPARATORS.split(name.casefold()) if word]
