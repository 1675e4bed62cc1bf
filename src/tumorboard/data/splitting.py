"""Split off the parts that the data lacks, once, without tearing apart what belongs together.

Identical pictures and the members of a group form one unit; units are dealt out, never images. A greedy
deal on the counts of each class is used rather than scikit-learn's StratifiedGroupKFold, because that
one offers only 1/k of the data, depends on the order of the rows, and never promises that a small class
reaches every part.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tumorboard import config
from tumorboard.data.image_reader import display
from tumorboard.data.manifest import Manifest
from tumorboard.data.near_duplicates import Duplicates
from tumorboard.errors import DataError

_DEALS = 8
_PARTS = ("train", "valid", "test")


@dataclass(frozen=True, slots=True)
class _Unit:
    key: str
    members: tuple[int, ...]
    counts: Mapping[str, int]


def complete(
    manifest: Manifest, pixel_sha256: Sequence[str], splitting: config.Splitting, seed: int
) -> Manifest:
    """Give every sample a part: what is missing of valid and test is split off train, or off the unknown.

    Samples of a given valid or test never move. A picture of the pool with a twin or group-mate in a given
    part stays in train, so that no new leak arises between valid and test. Stratified by class; the result
    depends on the pictures and the seed alone, not on the names or the order of files.

    Args:
        manifest: The samples; a split of "" is unknown.
        pixel_sha256: For each sample the hash of its decoded pixels.
        splitting: The parts' sizes as fractions of all images.
        seed: Chooses among the possible deals.

    Returns:
        The same samples, each with the split "train", "valid" or "test".

    Raises:
        DataError: No train part, or a class with too few separable images to be in every part.
    """
    given = {sample.split for sample in manifest.samples}
    pool = "" if "" in given else "train"
    if pool not in given:
        raise DataError(
            "expected a train part or images of no part, found only valid or test; add a train folder"
        )
    if set(_PARTS) <= given and pool == "train":
        return manifest
    sizes = {"test": splitting.test, "valid": splitting.valid}
    quotas = {split: _quota(manifest, size) for split, size in sizes.items() if split not in given}
    units = _units(manifest, pixel_sha256)
    free = [unit for unit in units if all(manifest.samples[i].split == pool for i in unit.members)]
    left = _units_by_class(manifest, units, free)
    _require_enough(left, quotas)
    deals = [_deal(free, left, quotas, f"{seed}/{number}") for number in range(_DEALS)]
    dealt = min(deals, key=lambda deal: _misfit(deal, quotas))
    _require_all_classes(dealt, quotas)
    moved = {i: split for split, taken in dealt.items() for unit in taken for i in unit.members}
    return replace(
        manifest,
        samples=tuple(
            replace(sample, split=moved.get(i, "train" if sample.split in ("", "train") else sample.split))
            for i, sample in enumerate(manifest.samples)
        ),
    )


def _quota(manifest: Manifest, fraction: float) -> dict[str, int]:
    """Images of each class that a part should get, at least one."""
    counts = Counter(sample.label for sample in manifest.samples)
    return {name: max(1, round(fraction * counts[name])) for name in manifest.class_names}


def _units(manifest: Manifest, pixel_sha256: Sequence[str]) -> list[_Unit]:
    """Samples joined by an identical picture or by a group, over any number of steps."""
    first: dict[tuple[str, str], int] = {}
    parent = list(range(len(manifest.samples)))
    for i, (sample, digest) in enumerate(zip(manifest.samples, pixel_sha256, strict=True)):
        for tie in (("picture", digest), ("group", sample.group)):
            if tie != ("group", ""):
                parent[_root(parent, i)] = _root(parent, first.setdefault(tie, i))
    members: dict[int, list[int]] = {}
    for i in range(len(parent)):
        members.setdefault(_root(parent, i), []).append(i)
    return [_unit(manifest, pixel_sha256, tuple(found)) for found in members.values()]


def _root(parent: list[int], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


def _unit(manifest: Manifest, pixel_sha256: Sequence[str], members: tuple[int, ...]) -> _Unit:
    counts = Counter(manifest.samples[i].label for i in members)
    return _Unit(min(pixel_sha256[i] for i in members), members, counts)


def _units_by_class(manifest: Manifest, units: Sequence[_Unit], free: Sequence[_Unit]) -> Counter[str]:
    """Units of each class that can be dealt; what is bound to train counts as one that stays there."""
    bound = {i for unit in units for i in unit.members} - {i for unit in free for i in unit.members}
    stays = {manifest.samples[i].label for i in bound if manifest.samples[i].split in ("", "train")}
    return Counter(
        {name: sum(name in unit.counts for unit in free) + (name in stays) for name in manifest.class_names}
    )


def _require_enough(left: Mapping[str, int], quotas: Mapping[str, object]) -> None:
    for name, count in left.items():
        if count <= len(quotas):
            raise DataError(
                f"expected at least {len(quotas) + 1} separable images of class {display(name)!r} "
                f"to split off {' and '.join(quotas)}, found {count} (twins and groups count once); "
                "add images, leave the class out or --merge it"
            )


def _deal(
    free: Sequence[_Unit], units_left: Mapping[str, int], quotas: Mapping[str, Mapping[str, int]], salt: str
) -> dict[str, list[_Unit]]:
    """One random deal: each part takes units in turn while they bring it nearer to its quota."""
    order = sorted(free, key=lambda unit: hashlib.sha256(f"{salt}/{unit.key}".encode()).digest())
    left = Counter(units_left)
    dealt: dict[str, list[_Unit]] = {}
    for waiting, (split, quota) in zip(range(len(quotas), 0, -1), quotas.items(), strict=True):
        taken = _take(order, left, quota, waiting)
        keys = {unit.key for unit in taken}
        order = [unit for unit in order if unit.key not in keys]
        dealt[split] = taken
    return dealt


def _take(order: Sequence[_Unit], left: Counter[str], quota: Mapping[str, int], waiting: int) -> list[_Unit]:
    """Units of one part; `waiting` is how many parts, train included, must find every class after it."""
    have: Counter[str] = Counter()
    taken: dict[str, _Unit] = {}

    def add(unit: _Unit) -> None:
        taken[unit.key] = unit
        have.update(unit.counts)
        left.subtract(unit.counts.keys())

    for unit in order:
        if _spare(unit, left, waiting) and _improves(unit, have, quota):
            add(unit)
    for name in (name for name in quota if not have[name]):
        fitting = [u for u in order if name in u.counts and u.key not in taken and _spare(u, left, waiting)]
        if fitting:
            add(min(fitting, key=lambda unit: len(unit.members)))
    return list(taken.values())


def _spare(unit: _Unit, left: Mapping[str, int], waiting: int) -> bool:
    return all(left[name] > waiting for name in unit.counts)


def _improves(unit: _Unit, have: Mapping[str, int], quota: Mapping[str, int]) -> bool:
    before = sum(abs(quota[name] - have[name]) for name in unit.counts)
    return sum(abs(quota[name] - have[name] - count) for name, count in unit.counts.items()) < before


def _misfit(dealt: Mapping[str, Sequence[_Unit]], quotas: Mapping[str, Mapping[str, int]]) -> tuple[int, int]:
    """How many classes parts lack, then how many images the parts are off their quotas."""
    have = {split: _count(units) for split, units in dealt.items()}
    gaps = [(have[split][name], wanted) for split, quota in quotas.items() for name, wanted in quota.items()]
    return sum(found == 0 for found, _ in gaps), sum(abs(found - wanted) for found, wanted in gaps)


def _count(units: Sequence[_Unit]) -> Counter[str]:
    total: Counter[str] = Counter()
    for unit in units:
        total.update(unit.counts)
    return total


def _require_all_classes(
    dealt: Mapping[str, Sequence[_Unit]], quotas: Mapping[str, Mapping[str, int]]
) -> None:
    for split, quota in quotas.items():
        lacking = [name for name in quota if not _count(dealt[split])[name]]
        if lacking:
            raise DataError(
                f"expected images of every class to split off {split}, found none of "
                f"{display(lacking[0])!r} that its groups set free; add images, or give the parts yourself"
            )


_FOLD_DEALS = 8


@dataclass(frozen=True, slots=True)
class _Component:
    name: str
    counts: Counter[str]


_Deal = Sequence[Sequence[_Component]]
"""The components of each fold."""


def components(manifest: Manifest, pixel_sha256: Sequence[str], twins: Duplicates) -> tuple[str, ...]:
    """For each sample the name of the component that it is in.

    Args:
        manifest: The N samples; equal groups other than "" belong together.
        pixel_sha256: For each sample the hash of its decoded pixels.
        twins: What `data.twins.search` found among them.

    Returns:
        N names; two samples have the same one exactly if they must be in the same part.
    """
    tied = _tied(manifest, twins)
    digests: dict[int, set[str]] = {}
    for number, digest in zip(tied, pixel_sha256, strict=True):
        digests.setdefault(number, set()).add(digest)
    names = {number: _digest(sorted(found))[:16] for number, found in digests.items()}
    return tuple(f"set-{names[number]}" for number in tied)


def _tied(manifest: Manifest, twins: Duplicates) -> list[int]:
    """Components by number: images are the one side of a graph, units of twins and groups the other."""
    N = len(manifest.samples)
    nodes: dict[str, int] = {}
    edges = [(i, N + int(unit)) for i, unit in enumerate(twins.component)]
    for i, sample in enumerate(manifest.samples):
        if sample.group:
            edges.append((i, 2 * N + nodes.setdefault(sample.group, len(nodes))))
    ends = np.array(edges, np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), (3 * N, 3 * N))
    found: list[int] = connected_components(graph, directed=False)[1][:N].tolist()
    return found


def divide(manifest: Manifest, tied: Sequence[str], splitting: config.Splitting, seed: int) -> Manifest:
    """One new split into train, valid and test; given splits do not count.

    Args:
        manifest: The N samples.
        tied: For each the name of its component; a group of the samples is never torn apart either.
        splitting: The sizes of valid and test, as fractions of all images.
        seed: Chooses among the possible splits.

    Raises:
        DataError: A class with too few components to be in every part.
    """
    return complete(_with_splits(manifest, [""] * len(tied)), tied, splitting, seed)


def folds(
    manifest: Manifest, tied: Sequence[str], k: int, splitting: config.Splitting, seed: int
) -> tuple[Manifest, ...]:
    """Splits of which each sample is test in exactly one; valid is split off the rest of each.

    Args:
        manifest: The N samples.
        tied: For each the name of its component.
        k: How many, 2 or more.
        splitting: The size of valid, as a fraction of all images; test is 1/k.
        seed: Chooses among the possible splits.

    Raises:
        DataError: A class with too few components to be in every part of every fold.
    """
    fold_of = _dealt(manifest, tied, k, seed)
    done = []
    for fold in range(k):
        given = _with_splits(manifest, ["test" if fold_of[name] == fold else "" for name in tied])
        done.append(complete(given, tied, splitting, seed))
    return tuple(done)


def _with_splits(manifest: Manifest, splits: Sequence[str]) -> Manifest:
    pairs = zip(manifest.samples, splits, strict=True)
    return replace(manifest, samples=tuple(replace(sample, split=split) for sample, split in pairs))


def _dealt(manifest: Manifest, tied: Sequence[str], k: int, seed: int) -> dict[str, int]:
    """The fold of each component: of some random deals the most even one."""
    counts: dict[str, Counter[str]] = {}
    for name, sample in zip(tied, manifest.samples, strict=True):
        counts.setdefault(name, Counter())[sample.label] += 1
    parts = [_Component(name, found) for name, found in counts.items()]
    _require_enough_for_folds(manifest, parts, k)
    whole = Counter(sample.label for sample in manifest.samples)
    deals = [_deal_folds(parts, whole, k, f"{seed}/{number}") for number in range(_FOLD_DEALS)]
    best = min(deals, key=lambda deal: _fold_misfit(deal, whole))
    _require_all_classes_in_folds(best, whole)
    return {part.name: fold for fold, taken in enumerate(best) for part in taken}


def _require_enough_for_folds(manifest: Manifest, parts: Iterable[_Component], k: int) -> None:
    """One of every class in each fold; beside each fold two more, for train and valid."""
    found = Counter(label for part in parts for label in part.counts)
    least = 4 if k == 2 else k
    for name in manifest.class_names:
        if found[name] < least:
            raise DataError(
                f"expected at least {least} separable images of class {display(name)!r} for {k} folds, "
                f"found {found[name]} (twins and groups count once); add images, take fewer folds, "
                "leave the class out or --merge it"
            )


def _deal_folds(parts: Iterable[_Component], whole: Counter[str], k: int, salt: str) -> _Deal:
    """The largest first, each to the fold that has least of its classes, then to the smallest fold."""
    order = sorted(parts, key=lambda part: (-part.counts.total(), _digest([salt, part.name])))
    turns = sorted(range(k), key=lambda fold: _digest([salt, str(fold)]))  # who comes first in a tie
    have: list[Counter[str]] = [Counter() for _ in turns]
    deal: list[list[_Component]] = [[] for _ in turns]
    for part in order:
        fold = min(turns, key=lambda i: (_load(have[i], part, whole), have[i].total()))
        have[fold].update(part.counts)
        deal[fold].append(part)
    return deal


def _load(have: Counter[str], part: _Component, whole: Counter[str]) -> float:
    """How much more uneven the folds get if it goes there; of a rare class each image weighs more."""
    return sum(count * have[name] / whole[name] ** 2 for name, count in part.counts.items())


def _fold_misfit(deal: _Deal, whole: Counter[str]) -> tuple[int, float]:
    """How many classes folds lack, then how uneven the folds are, as a sum of squared shares."""
    shares = [count / whole[name] for counts in _counts(deal, whole) for name, count in counts.items()]
    return shares.count(0), sum(share * share for share in shares)


def _counts(deal: _Deal, whole: Counter[str]) -> list[dict[str, int]]:
    """Images of each class by fold."""
    return [{name: sum(part.counts[name] for part in taken) for name in whole} for taken in deal]


def _require_all_classes_in_folds(deal: _Deal, whole: Counter[str]) -> None:
    for counts in _counts(deal, whole):
        lacking = [name for name, count in counts.items() if not count]
        if lacking:
            raise DataError(
                f"expected images of every class in each of {len(deal)} folds, found none of "
                f"{display(lacking[0])!r} that its groups set free; add images, or take fewer folds"
            )


def _digest(words: Iterable[str]) -> str:
    return hashlib.sha256("/".join(words).encode()).hexdigest()
