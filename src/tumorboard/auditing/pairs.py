"""Twins as the checks ask for them: across splits, within one, under two labels; exact or near."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from tumorboard.auditing.outcome import Number
from tumorboard.auditing.study import Study
from tumorboard.data.manifest import Sample
from tumorboard.data.near_duplicates import Indices

Kind = Literal["exact", "near"]
Group = tuple[Sample, ...]
EARLIER = {"test": ("train", "valid"), "valid": ("train",)}
"""For each split those that nothing of it may have been seen in."""


def groups(study: Study, kind: Kind) -> tuple[Group, ...]:
    """Samples with identical pixels, or samples that show the same in at least two different pictures."""
    if kind == "exact":
        return tuple(_grouped(study, study.twins.picture))
    pictures = _pictures(study)
    return tuple(g for g in _grouped(study, study.twins.unit) if len({pictures[s.id] for s in g}) > 1)


def apart(study: Study, kind: Kind, of: Callable[[Sample], str]) -> tuple[Group, ...]:
    """The groups whose members differ in `of`, such as their split or their label.

    Of near twins only those where a picture has no exact twin that differs: these are told once, as exact.
    """
    differing = tuple(group for group in groups(study, kind) if len({of(sample) for sample in group}) > 1)
    if kind == "exact":
        return differing
    pictures = _pictures(study)
    values: dict[int, set[str]] = defaultdict(set)
    for sample in study.samples:
        values[pictures[sample.id]].add(of(sample))
    return tuple(g for g in differing if any(len(values[pictures[sample.id]]) == 1 for sample in g))


def leaked(study: Study, kind: Kind, split: str) -> tuple[Sample, ...]:
    """Samples of a split that an earlier one holds too; near ones without those that are there exactly."""
    exact = _in_earlier(study, study.twins.picture, split)
    if kind == "exact":
        return exact
    return tuple(sample for sample in _in_earlier(study, study.twins.unit, split) if sample not in exact)


def leaks(study: Study, kind: Kind) -> tuple[str, dict[str, Number]]:
    """How many of test are in train or valid, and of valid in train, by class: in words, and as numbers."""
    words: list[str] = []
    numbers: dict[str, Number] = {}
    for split, earlier in EARLIER.items():
        whole = Counter(sample.label for sample in study.samples if sample.split == split)
        found = Counter(sample.label for sample in leaked(study, kind, split))
        if found:
            classes = ", ".join(f"{found[name]} of {whole[name]} {name}" for name in sorted(found))
            where = " or ".join(earlier)
            words.append(f"{found.total()} of {whole.total()} {split} images are in {where} too ({classes})")
        numbers |= {f"{split}: {name}": count for name, count in sorted(found.items())}
        numbers |= {f"{split}: twins": found.total(), f"{split}: all": whole.total()} if whole else {}
    return "; ".join(words), numbers


def without_copies(study: Study, found: Sequence[Group]) -> tuple[Group, ...]:
    """The groups with each picture once a split, so that exact twins are not told again."""
    pictures = _pictures(study)
    return tuple(
        tuple({(pictures[sample.id], sample.split): sample for sample in reversed(group)}.values())[::-1]
        for group in found
    )


def ids(found: Sequence[Group]) -> tuple[tuple[str, ...], ...]:
    """The groups as ids."""
    return tuple(tuple(sample.id for sample in group) for group in found)


def _in_earlier(study: Study, numbers: Indices, split: str) -> tuple[Sample, ...]:
    numbered = list(zip(study.samples, numbers.tolist(), strict=True))
    seen = {number for sample, number in numbered if sample.split in EARLIER[split]}
    return tuple(sample for sample, number in numbered if sample.split == split and number in seen)


def _pictures(study: Study) -> dict[str, int]:
    return dict(zip(study.manifest.ids, study.twins.picture.tolist(), strict=True))


def _grouped(study: Study, numbers: Indices) -> Iterator[Group]:
    members: dict[int, list[Sample]] = defaultdict(list)
    for sample, number in zip(study.samples, numbers.tolist(), strict=True):
        members[number].append(sample)
    yield from (tuple(found) for found in members.values() if len(found) > 1)
