"""New splits of a whole study: once, or as k folds in which every image is test exactly once.

What belongs together is one component: images joined by a group (a patient) or by being twins, over any
number of steps. Components are dealt out, never images.

A component is called after its pixels, so that the result depends on the pictures and the seed alone, and
nobody is named: a column of groups may hold names of patients.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tumorboard import recipe
from tumorboard.data.manifest import Manifest
from tumorboard.data.reading import display
from tumorboard.data.splits import complete
from tumorboard.data.twins import Twins
from tumorboard.errors import DataError

_DEALS = 8


@dataclass(frozen=True, slots=True)
class _Component:
    name: str
    counts: Counter[str]


_Deal = Sequence[Sequence[_Component]]
"""The components of each fold."""


def components(manifest: Manifest, pixel_sha256: Sequence[str], twins: Twins) -> tuple[str, ...]:
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


def _tied(manifest: Manifest, twins: Twins) -> list[int]:
    """Components by number: images are the one side of a graph, units of twins and groups the other."""
    N = len(manifest.samples)
    nodes: dict[str, int] = {}
    edges = [(i, N + int(unit)) for i, unit in enumerate(twins.unit)]
    for i, sample in enumerate(manifest.samples):
        if sample.group:
            edges.append((i, 2 * N + nodes.setdefault(sample.group, len(nodes))))
    ends = np.array(edges, np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), (3 * N, 3 * N))
    found: list[int] = connected_components(graph, directed=False)[1][:N].tolist()
    return found


def divide(manifest: Manifest, tied: Sequence[str], splitting: recipe.Splitting, seed: int) -> Manifest:
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
    manifest: Manifest, tied: Sequence[str], k: int, splitting: recipe.Splitting, seed: int
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
    _require_enough(manifest, parts, k)
    whole = Counter(sample.label for sample in manifest.samples)
    deals = [_deal(parts, whole, k, f"{seed}/{number}") for number in range(_DEALS)]
    best = min(deals, key=lambda deal: _misfit(deal, whole))
    _require_all_classes(best, whole)
    return {part.name: fold for fold, taken in enumerate(best) for part in taken}


def _require_enough(manifest: Manifest, parts: Iterable[_Component], k: int) -> None:
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


def _deal(parts: Iterable[_Component], whole: Counter[str], k: int, salt: str) -> _Deal:
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


def _misfit(deal: _Deal, whole: Counter[str]) -> tuple[int, float]:
    """How many classes folds lack, then how uneven the folds are, as a sum of squared shares."""
    shares = [count / whole[name] for counts in _counts(deal, whole) for name, count in counts.items()]
    return shares.count(0), sum(share * share for share in shares)


def _counts(deal: _Deal, whole: Counter[str]) -> list[dict[str, int]]:
    """Images of each class by fold."""
    return [{name: sum(part.counts[name] for part in taken) for name in whole} for taken in deal]


def _require_all_classes(deal: _Deal, whole: Counter[str]) -> None:
    for counts in _counts(deal, whole):
        lacking = [name for name, count in counts.items() if not count]
        if lacking:
            raise DataError(
                f"expected images of every class in each of {len(deal)} folds, found none of "
                f"{display(lacking[0])!r} that its groups set free; add images, or take fewer folds"
            )


def _digest(words: Iterable[str]) -> str:
    return hashlib.sha256("/".join(words).encode()).hexdigest()
