"""Which class folders of the splits are the same class.

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
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tumorboard.data.image_reader import display
from tumorboard.errors import DataError, UsageError

_SEPARATORS = re.compile(r"[\s._\-]+")


@dataclass(frozen=True, slots=True)
class Matching:
    """What was matched.

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
) -> Matching:
    """Match class folders across splits, then merge classes.

    Args:
        folders: For each split its class folders; the first split is the one to match with.
        class_map: Class name to the folders that are this class, in whatever split.
        merge: New class name to the classes that it takes in, after matching.

    Raises:
        DataError: An ambiguous or unmatched folder, or a name in `class_map` or `merge` that is not there.
    """
    forced = _inverted(
        class_map, {name for names in folders.values() for name in names}, "--class-map", "folder"
    )
    names = {split: sorted({forced.get(name, name) for name in found}) for split, found in folders.items()}
    clusters = _clusters(names)
    called = {name: _canonical(cluster, class_map) for cluster in clusters for name in cluster}
    merged = _inverted(merge, set(called.values()), "--merge", "class")
    _refuse_swallowed(merged, set(called.values()))
    class_of = {
        name: merged.get(called[forced.get(name, name)], called[forced.get(name, name)])
        for found in folders.values()
        for name in found
    }
    return Matching(class_of, tuple(folders), _rows(folders, class_of))


def parse_groups(values: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Read `--class-map` or `--merge`, each value NAME=A,B.

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


def _inverted(groups: Mapping[str, Sequence[str]], known: set[str], flag: str, what: str) -> dict[str, str]:
    """Member to group; every member known, and in one group only."""
    owner: dict[str, str] = {}
    for name, members in groups.items():
        for member in members:
            if member not in known:
                shown = display(", ".join(sorted(known)))
                raise DataError(
                    f"{flag} {display(name)}: no {what} is called {display(member)!r}; known: {shown}",
                    sorted(known),
                )
            if owner.setdefault(member, name) != name:
                raise DataError(
                    f"{flag}: {what} {display(member)!r} is in {owner[member]!r} and in {name!r}; choose one"
                )
    return owner


def _refuse_swallowed(merged: Mapping[str, str], known: set[str]) -> None:
    for name in sorted(set(merged.values()) & (known - set(merged))):
        raise DataError(
            f"--merge {display(name)}=...: a class of that name is there and not in the list; "
            "add it to the list or choose another name"
        )


def _clusters(names: Mapping[str, Sequence[str]]) -> list[set[str]]:
    """Names of one class together, a set for each name of the first split."""
    (first, reference), *others = names.items()
    problems = [f"{first or 'data'}: {line}" for line in _twins(reference)]
    clusters = {name: {name} for name in reference}
    for split, found in others:
        pairs, faults = _pairs(reference, found)
        problems += [f"{split}: {line} ({first})" for line in faults]
        for name, partner in pairs.items():
            clusters[partner].add(name)
    problems += _shared(clusters.values())
    if problems:
        raise _error("class folders that match no other split's, or more than one", problems)
    return list(clusters.values())


def _pairs(reference: Sequence[str], found: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Names of a split to names of the reference, and what stays ambiguous or alone."""
    pairs = {name: name for name in found if name in reference}
    faults: list[str] = []
    doubtful: set[str] = set()
    for same in (_same_words, _prefix):
        left = [name for name in found if name not in pairs and name not in doubtful]
        free = [name for name in reference if name not in pairs.values() and name not in doubtful]
        edges = [(name, other) for name in left for other in free if same(name, other)]
        sure = [edge for edge in edges if sum(bool(set(edge) & set(other)) for other in edges) == 1]
        pairs.update(sure)
        doubtful.update(name for edge in edges if edge not in sure for name in edge)
        faults += [f"{name!r} may be {other!r}" for name, other in edges if (name, other) not in sure]
    alone = [name for name in found if name not in pairs and name not in doubtful]
    missing = [name for name in reference if name not in pairs.values() and name not in doubtful]
    faults += [f"{name!r} has no counterpart" for name in alone]
    return pairs, faults + [f"nothing here for {name!r}" for name in missing]


def _twins(names: Sequence[str]) -> list[str]:
    return [f"{a!r} may be {b!r}" for a in names for b in names if a < b and _same_words(a, b)]


def _shared(clusters: Collection[set[str]]) -> list[str]:
    """Names that different splits put into different classes."""
    owners = [name for cluster in clusters for name in cluster]
    return [f"{name!r} is matched with two classes" for name in sorted(set(owners)) if owners.count(name) > 1]


@functools.cache
def _words(name: str) -> list[str]:
    return [word for word in _SEPARATORS.split(name.casefold()) if word]


def _same_words(a: str, b: str) -> bool:
    return _words(a) == _words(b)


def _prefix(a: str, b: str) -> bool:
    short, long = sorted((_words(a), _words(b)), key=len)
    return bool(short) and long[: len(short)] == short


def _canonical(cluster: set[str], class_map: Mapping[str, Sequence[str]]) -> str:
    return min(cluster, key=lambda name: (name not in class_map, len(name), name))


def _rows(folders: Mapping[str, Collection[str]], class_of: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (name, *(", ".join(sorted(f for f in found if class_of[f] == name)) for found in folders.values()))
        for name in sorted(set(class_of.values()))
    )


def _error(found: str, lines: Sequence[str]) -> DataError:
    shown = display("; ".join(lines)) if len(lines) < 3 else f"{len(lines)} listed below"
    return DataError(
        f"{found[:120]}: {shown}; say which belong together with --class-map NAME=FOLDER,FOLDER", lines
    )
