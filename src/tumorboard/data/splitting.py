"""Split data into train, validation and test, or into folds, without separating what belongs together.

Images that are tied to each other, as identical ones and those of a group are, form a component; components
are dealt out, never images. A greedy deal on the counts of each class is used rather than scikit-learn's
StratifiedGroupKFold, because that one offers only 1/k of the data, depends on the order of the rows, and
never promises that a small class reaches every split. Of several random deals the best one is taken.
"""

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy

from tumorboard import config
from tumorboard.data.class_folders import SPLITS
from tumorboard.data.dicom import reader as dicom
from tumorboard.data.manifest import Manifest
from tumorboard.data.near_duplicates import Duplicates
from tumorboard.errors import DataError, display

_DEALS = 8


@dataclass(frozen=True, slots=True)
class _Component:
    """Samples that must be in the same split: a name for them, their positions, and their number by class."""

    key: str
    members: tuple[int, ...]
    counts: Mapping[str, int]


def assign_splits(
    manifest: Manifest, pixel_sha256: Sequence[str], splitting: config.Splitting, seed: int
) -> Manifest:
    """Give every sample a split: what is missing of valid and test is split off train, or off the unknown.

    Samples of a given valid or test never move. An image of the pool that is tied to one in a given split
    stays in train, so that no new leak arises between valid and test. Stratified by class; the result
    depends on the images and the seed alone, not on the names or the order of files.

    Args:
        manifest: The samples; a split of "" is unknown.
        pixel_sha256: For each sample the hash of its decoded pixels, or the name of its component, see
            `components`; equal ones are tied.
        splitting: The sizes of valid and test as fractions of all images.
        seed: Chooses among the possible deals.

    Returns:
        The same samples, each with the split "train", "valid" or "test".

    Raises:
        DataError: No train, or a class with too few separable images to be in every split.
    """
    samples = manifest.samples
    given = {sample.split for sample in samples}
    pool = "" if "" in given else "train"
    if pool not in given:
        raise DataError(
            "expected a train split or images without a split, found only valid or test; add a train folder"
        )
    if set(SPLITS) <= given and pool == "train":
        return manifest
    counts, sizes = (
        Counter(sample.label for sample in samples),
        {"test": splitting.test, "valid": splitting.valid},
    )
    quotas = {
        split: {name: max(1, round(size * counts[name])) for name in manifest.class_names}
        for split, size in sizes.items()
        if split not in given
    }
    components_ = _grouped(manifest, _tied(pixel_sha256, [sample.group for sample in samples]), pixel_sha256)
    free = [c for c in components_ if all(samples[i].split == pool for i in c.members)]
    # Components of each class that can be dealt; all that are bound to train count as one that stays there.
    bound = set(range(len(samples))).difference(*(component.members for component in free))
    stays = {samples[i].label for i in bound if samples[i].split in ("", "train")}
    left = {name: sum(name in c.counts for c in free) + (name in stays) for name in manifest.class_names}
    purpose = f"to split off {' and '.join(quotas)}"
    _require_enough(left, len(quotas) + 1, purpose, "add images", _advice_on_groups(manifest))
    dealt = min(
        (_deal(free, left, quotas, f"{seed}/{number}") for number in range(_DEALS)),
        key=lambda deal: _distance_from_quotas(deal, quotas),
    )
    for split, taken in dealt.items():
        _require_all_classes(
            [_total(taken)], quotas[split], f"to split off {split}", "give the splits yourself"
        )
    moved = {i: split for split, taken in dealt.items() for component in taken for i in component.members}
    return _with_splits(
        manifest,
        [moved.get(i, "train" if s.split in ("", "train") else s.split) for i, s in enumerate(samples)],
    )


def components(
    manifest: Manifest, pixel_sha256: Sequence[str], duplicates: Duplicates | None
) -> tuple[str, ...]:
    """Name for each sample the component that it is in.

    Args:
        manifest: The N samples; equal groups other than "" are tied.
        pixel_sha256: For each sample the hash of its decoded pixels.
        duplicates: Which of them are near duplicates; None if these may be separated.

    Returns:
        N names; two samples have the same one exactly if they must be in the same split.
    """
    near = duplicates.component.tolist() if duplicates else [""] * len(pixel_sha256)
    tied = _tied(pixel_sha256, near, [sample.group for sample in manifest.samples])
    digests: dict[int, set[str]] = {}
    for number, digest in zip(tied, pixel_sha256, strict=True):
        digests.setdefault(number, set()).add(digest)
    names = {number: _digest(sorted(of))[:16] for number, of in digests.items()}
    return tuple(f"set-{names[number]}" for number in tied)


def new_split(manifest: Manifest, tied: Sequence[str], splitting: config.Splitting, seed: int) -> Manifest:
    """Make one new split into train, valid and test; given splits do not count.

    Args:
        manifest: The N samples.
        tied: For each the name of its component; a group of the samples is never separated either.
        splitting: The sizes of valid and test, as fractions of all images.
        seed: Chooses among the possible splits.

    Raises:
        DataError: A class with too few components to be in every split.
    """
    return assign_splits(_with_splits(manifest, [""] * len(tied)), tied, splitting, seed)


def new_folds(
    manifest: Manifest, tied: Sequence[str], k: int, splitting: config.Splitting, seed: int
) -> tuple[Manifest, ...]:
    """Make splits of which each sample is test in exactly one; valid is split off the rest of each.

    Args:
        manifest: The N samples.
        tied: For each the name of its component.
        k: How many, 2 or more.
        splitting: The size of valid, as a fraction of all images; test is 1/k.
        seed: Chooses among the possible splits.

    Raises:
        DataError: A class with too few components to be in every split of every fold.
    """
    parts = _grouped(manifest, tied, tied)
    number = Counter(label for part in parts for label in part.counts)
    # One of every class in each fold; beside each fold two more, for train and valid.
    least = 4 if k == 2 else k
    available = {name: number[name] for name in manifest.class_names}
    remedy = "add images, take fewer folds"
    _require_enough(available, least, f"for {k} folds", remedy, _advice_on_groups(manifest))
    whole = Counter(sample.label for sample in manifest.samples)
    dealt = min(
        (_deal_folds(parts, whole, k, f"{seed}/{number}") for number in range(_DEALS)),
        key=lambda deal: _unevenness(deal, whole),
    )
    counts = [_total(taken) for taken in dealt]
    _require_all_classes(counts, whole, f"in each of {k} folds", "take fewer folds")
    fold_of = {part.key: fold for fold, taken in enumerate(dealt) for part in taken}
    given = ([("test" if fold_of[name] == fold else "") for name in tied] for fold in range(k))
    return tuple(assign_splits(_with_splits(manifest, splits), tied, splitting, seed) for splits in given)


def _tied(*ties: Sequence[Hashable]) -> list[int]:
    """Number the components: samples are tied by equal values other than "", over any number of steps."""
    N = len(ties[0])
    numbers: dict[tuple[int, Hashable], int] = {}
    edges = [
        (i, N + numbers.setdefault((kind, value), len(numbers)))
        for kind, values in enumerate(ties)
        for i, value in enumerate(values)
        if value != ""
    ]
    ends, size = np.array(edges, np.int64).reshape(-1, 2), N + len(numbers)
    graph = scipy.sparse.coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), (size, size))
    component: list[int] = scipy.sparse.csgraph.connected_components(graph, directed=False)[1][:N].tolist()
    return component


def _grouped(manifest: Manifest, tied: Sequence[Hashable], keys: Sequence[str]) -> list[_Component]:
    """The components of samples with equal `tied`, each called by the least of its members' keys."""
    members: dict[Hashable, list[int]] = {}
    for i, number in enumerate(tied):
        members.setdefault(number, []).append(i)
    return [
        _Component(min(keys[i] for i in part), tuple(part), Counter(manifest.samples[i].label for i in part))
        for part in members.values()
    ]


def _with_splits(manifest: Manifest, splits: Sequence[str]) -> Manifest:
    pairs = zip(manifest.samples, splits, strict=True)
    return replace(manifest, samples=tuple(replace(sample, split=split) for sample, split in pairs))


def _advice_on_groups(manifest: Manifest) -> list[str]:
    """Return advice for samples that are nearly all of one group, as where a program wrote one ID for all."""
    (group, n), *_ = Counter(sample.group for sample in manifest.samples).most_common(1)
    if not group or n < max(2, 0.9 * len(manifest.samples)):
        return []
    remedy = "leave the column group empty in a manifest CSV, or name the patients in it"
    if group.startswith(dicom.PREFIX):  # an empty column would be filled from the headers again
        remedy = "name the patients in the column group of a manifest CSV"
    return [
        f"{n} of {len(manifest.samples)} images are of one group, {display(group)!r}; if that is not one "
        f"patient, {remedy}"
    ]


def _require_enough(
    available: Mapping[str, int], least: int, purpose: str, remedy: str, advice: Sequence[str]
) -> None:
    for name, count in available.items():
        if count < least:
            raise DataError(
                f"expected at least {least} separable images of class {display(name)!r} {purpose}, found "
                f"{count} (duplicates and groups count once); {remedy}, leave the class out or --merge it",
                advice,
            )


def _require_all_classes(
    counts: Iterable[Mapping[str, int]], class_names: Iterable[str], purpose: str, remedy: str
) -> None:
    for name in (name for part in counts for name in class_names if not part[name]):
        raise DataError(
            f"expected images of every class {purpose}, found none of {display(name)!r} that its groups set "
            f"free; add images, or {remedy}"
        )


def _deal(
    free: Sequence[_Component],
    available: Mapping[str, int],
    quotas: Mapping[str, Mapping[str, int]],
    salt: str,
) -> dict[str, list[_Component]]:
    """Deal at random: each split takes components in turn while they bring it nearer to its quota."""
    order = sorted(free, key=lambda component: _digest([salt, component.key]))
    left = Counter(available)
    dealt: dict[str, list[_Component]] = {}
    for waiting, (split, quota) in zip(range(len(quotas), 0, -1), quotas.items(), strict=True):
        dealt[split] = _take(order, left, quota, waiting)
        keys = {component.key for component in dealt[split]}
        order = [component for component in order if component.key not in keys]
    return dealt


def _take(
    order: Sequence[_Component], left: Counter[str], quota: Mapping[str, int], waiting: int
) -> list[_Component]:
    """Components of one split; `waiting` is how many splits, train included, need every class after it."""
    have: Counter[str] = Counter()
    taken: dict[str, _Component] = {}

    def add(component: _Component) -> None:
        taken[component.key] = component
        have.update(component.counts)
        left.subtract(component.counts.keys())

    def can_be_spared(component: _Component) -> bool:
        return all(left[name] > waiting for name in component.counts)

    def improves(component: _Component) -> bool:
        before = sum(abs(quota[name] - have[name]) for name in component.counts)
        after = sum(abs(quota[name] - have[name] - count) for name, count in component.counts.items())
        return after < before

    for component in order:
        if can_be_spared(component) and improves(component):
            add(component)
    for name in (name for name in quota if not have[name]):
        fitting = [c for c in order if name in c.counts and c.key not in taken and can_be_spared(c)]
        if fitting:
            add(min(fitting, key=lambda component: len(component.members)))
    return list(taken.values())


def _distance_from_quotas(
    dealt: Mapping[str, Sequence[_Component]], quotas: Mapping[str, Mapping[str, int]]
) -> tuple[int, int]:
    """How many classes splits lack, then how many images the splits are off their quotas."""
    have = {split: _total(taken) for split, taken in dealt.items()}
    gaps = [(have[split][name], wanted) for split, quota in quotas.items() for name, wanted in quota.items()]
    return sum(count == 0 for count, _ in gaps), sum(abs(count - wanted) for count, wanted in gaps)


def _deal_folds(
    parts: Iterable[_Component], whole: Counter[str], k: int, salt: str
) -> list[list[_Component]]:
    """The largest first, each to the fold that has least of its classes, then to the smallest fold."""
    order = sorted(parts, key=lambda part: (-sum(part.counts.values()), _digest([salt, part.key])))
    turns = sorted(range(k), key=lambda fold: _digest([salt, str(fold)]))  # which comes first in a tie
    have: list[Counter[str]] = [Counter() for _ in turns]
    deal: list[list[_Component]] = [[] for _ in turns]

    def load(fold: int, part: _Component) -> float:
        """How much more uneven the folds get with it there; each image of a rare class weighs more."""
        return sum(count * have[fold][name] / whole[name] ** 2 for name, count in part.counts.items())

    for part in order:
        fold = min(turns, key=lambda i: (load(i, part), have[i].total()))
        have[fold].update(part.counts)
        deal[fold].append(part)
    return deal


def _unevenness(deal: Sequence[Sequence[_Component]], whole: Counter[str]) -> tuple[int, float]:
    """How many classes folds lack, then how uneven the folds are, as a sum of squared shares."""
    shares = [total[name] / whole[name] for total in map(_total, deal) for name in whole]
    return shares.count(0), sum(share * share for share in shares)


def _total(parts: Iterable[_Component]) -> Counter[str]:
    """Images of each class."""
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part.counts)
    return total


def _digest(words: Iterable[str]) -> str:
    return hashlib.sha256("/".join(words).encode()).hexdigest()
