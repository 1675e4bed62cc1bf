"""Check for images that occur more than once: across splits, within one, or under two labels.

*Identical* images have the same decoded pixels. *Near duplicates* show the same in other pixels: re-encoded,
resized, brighter or darker, with a line drawn on them, cropped by a few pixels, flipped, or rotated by a
multiple of 90 degrees.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Literal

from tumorboard.audit.dataset_facts import DatasetFacts
from tumorboard.audit.findings import Finding, NotApplicable, Number, Outcome, check
from tumorboard.data.manifest import Sample
from tumorboard.data.near_duplicates import Indices

Kind = Literal["identical", "near"]
SampleGroup = tuple[Sample, ...]
EARLIER = {"test": ("train", "valid"), "valid": ("train",)}
"""For each split those that must not contain any of its images."""


def duplicate_groups(facts: DatasetFacts, kind: Kind) -> tuple[SampleGroup, ...]:
    """Group samples with identical pixels, or near duplicates of at least two different images."""
    numbers = facts.duplicates.identical if kind == "identical" else facts.duplicates.component
    members: dict[int, list[Sample]] = defaultdict(list)
    for sample, number in zip(facts.samples, numbers.tolist(), strict=True):
        members[number].append(sample)
    groups = tuple(tuple(group) for group in members.values() if len(group) > 1)
    if kind == "identical":
        return groups
    images = _image_numbers(facts)
    return tuple(group for group in groups if len({images[sample.id] for sample in group}) > 1)


def groups_that_differ(
    facts: DatasetFacts, kind: Kind, attribute: Callable[[Sample], str]
) -> tuple[SampleGroup, ...]:
    """Select the groups whose members differ in an attribute, such as their split or their label.

    A group of near duplicates is left out if each of its images has identical copies that differ: those are
    reported as identical.
    """
    differing = tuple(
        group for group in duplicate_groups(facts, kind) if len({attribute(sample) for sample in group}) > 1
    )
    if kind == "identical":
        return differing
    images = _image_numbers(facts)
    values: dict[int, set[str]] = defaultdict(set)
    for sample in facts.samples:
        values[images[sample.id]].add(attribute(sample))
    return tuple(g for g in differing if any(len(values[images[sample.id]]) == 1 for sample in g))


def leaked(facts: DatasetFacts, kind: Kind, split: str) -> tuple[Sample, ...]:
    """Select the samples of a split with a duplicate in an earlier one; near ones exclude identical ones."""

    def in_earlier(numbers: Indices) -> tuple[Sample, ...]:
        numbered = list(zip(facts.samples, numbers.tolist(), strict=True))
        seen = {number for sample, number in numbered if sample.split in EARLIER[split]}
        return tuple(sample for sample, number in numbered if sample.split == split and number in seen)

    identical = in_earlier(facts.duplicates.identical)
    if kind == "identical":
        return identical
    return tuple(sample for sample in in_earlier(facts.duplicates.component) if sample not in identical)


def count_leaks(facts: DatasetFacts, kind: Kind) -> tuple[str, dict[str, Number]]:
    """Count by class how many of test are in train or valid, and of valid in train; in words and numbers."""
    words: list[str] = []
    numbers: dict[str, Number] = {}
    for split, earlier in EARLIER.items():
        totals = Counter(sample.label for sample in facts.samples if sample.split == split)
        counts = Counter(sample.label for sample in leaked(facts, kind, split))
        if counts:
            classes = ", ".join(f"{counts[name]} of {totals[name]} {name}" for name in sorted(counts))
            where = " or ".join(earlier)
            words.append(
                f"{counts.total()} of {totals.total()} {split} images are also in {where} ({classes})"
            )
        numbers |= {f"{split}: {name}": count for name, count in sorted(counts.items())}
        if totals:
            numbers |= {f"{split}: duplicates": counts.total(), f"{split}: all": totals.total()}
    return "; ".join(words), numbers


def without_copies(facts: DatasetFacts, groups: Sequence[SampleGroup]) -> tuple[SampleGroup, ...]:
    """Keep each image once per split and group, so that identical copies are not reported again."""
    images = _image_numbers(facts)
    return tuple(
        tuple({(images[sample.id], sample.split): sample for sample in reversed(group)}.values())[::-1]
        for group in groups
    )


def repeats_within_splits(
    facts: DatasetFacts, groups: Sequence[SampleGroup], what: str
) -> tuple[Finding, ...]:
    """Report a finding if a split contains several members of a group.

    Args:
        facts: The facts.
        groups: Groups of duplicates.
        what: What they are, for the title.
    """
    repeated = tuple(g for g in groups if len({sample.split for sample in g}) < len(g))
    if not repeated:
        return ()
    extra: Counter[tuple[str, str]] = Counter()  # images that could be removed, for another is equal
    for group in repeated:
        splits: set[str] = set()
        for sample in group:
            extra[sample.split, sample.label] += sample.split in splits
            splits.add(sample.split)
    (split, label), most = extra.most_common(1)[0]
    where = f" of {split}" if split else ""
    return (
        Finding(
            "warning",
            f"{what}: {extra.total()} of {len(facts.samples)} images repeat another of their split, among "
            f"them {most} of {facts.manifest.counts[split][label]} {label}{where}",
            "Repeated images weigh more in training, and make intervals on valid and test too narrow.",
            "Keep one of each; tumorboard split keeps them together.",
            sample_ids(repeated),
            {f"{split or 'all'}: {label}": n for (split, label), n in sorted(extra.items()) if n},
        ),
    )


def sample_ids(groups: Sequence[SampleGroup]) -> tuple[tuple[str, ...], ...]:
    """Return the groups as ids."""
    return tuple(tuple(sample.id for sample in group) for group in groups)


def _image_numbers(facts: DatasetFacts) -> dict[str, int]:
    """For each id the number of its image, equal for identical pixels."""
    return dict(zip(facts.manifest.ids, facts.duplicates.identical.tolist(), strict=True))


@check("TB401", "identical images across splits", "error")
def identical_across_splits(facts: DatasetFacts) -> Outcome:
    """Report images of test that are also in train or valid, and images of valid that are also in train.

    Why it matters: The model was trained or selected on them: metrics on them measure memorisation. This is
    the most common reason for results that are too good.

    How it is measured: SHA-256 of the decoded pixels and their shape, whatever the name, format or colour
    mode. The counts are given by class, because leaks are often in one class.

    What to do: `train` reports every test metric twice, on all images and without these. Better: make new
    splits with `tumorboard split`.
    """
    if len(facts.manifest.counts) < 2:
        return NotApplicable("the data has only one split")
    title, numbers = count_leaks(facts, "identical")
    if not title:
        return ()
    return (
        Finding(
            "error",
            f"identical pixels: {title}",
            "Metrics on these images measure memorisation and are too good.",
            "Report metrics without them (train does), or make new splits with tumorboard split.",
            sample_ids(groups_that_differ(facts, "identical", lambda sample: sample.split)),
            numbers,
        ),
    )


@check("TB402", "identical images within a split")
def identical_within_a_split(facts: DatasetFacts) -> Outcome:
    """Report images that one split contains more than once.

    Why it matters: In train they weigh more than others and make the class seem larger than it is; in valid
    and test the confidence interval is computed for more images than there are.

    How it is measured: As [TB401](#tb401). The number is of images that could be removed without losing any.

    What to do: Keep one of each. The counts by class show how many different images a class really has.
    """
    return repeats_within_splits(facts, duplicate_groups(facts, "identical"), "identical images")


@check("TB403", "identical images with different labels", "error")
def identical_with_two_labels(facts: DatasetFacts) -> Outcome:
    """Report images that occur in two classes.

    Why it matters: At least one label is wrong. The model is trained on a contradiction, or a correct
    prediction counts as an error; and where one was found, there are probably more that no program can find.

    How it is measured: As [TB401](#tb401).

    What to do: Ask who labelled them. Correct or remove both.
    """
    groups = groups_that_differ(facts, "identical", lambda sample: sample.label)
    if not groups:
        return ()
    examples = "; ".join(" and ".join(sorted({s.label for s in group})) for group in groups[:3])
    return (
        Finding(
            "error",
            f"{len(groups)} {'image has' if len(groups) == 1 else 'images have'} two labels ({examples})",
            "At least one label is wrong: training sees a contradiction, correct predictions count as wrong.",
            "Ask who labelled them; correct or remove them.",
            sample_ids(groups),
            {"images": len(groups)},
        ),
    )


@check("TB404", "near duplicates across splits", "error")
def near_duplicates_across_splits(facts: DatasetFacts) -> Outcome:
    """Report near duplicates across splits, as TB401 reports identical images; those are not reported again.

    Why it matters: As [TB401](#tb401): a model that was trained on one recognises the other.

    How it is measured: Images are reduced to 64 x 64 grey pixels. Pairs whose low frequencies agree (in
    magnitudes that flips and rotations by 90 degrees do not change) are correlated in all 8 orientations;
    near duplicates have a correlation of 0.98 or more. On the chest CT of the study copies of one slice have
    0.985 or more, and different slices of one patient 0.971 or less. Of 100 images each, 100 copies, 100
    changed and 100 rotated ones were found; on the 593 images of cancer there 3 pairs were, all of them true
    (`python benchmarks/near_duplicates.py DATA`). Images rotated by other angles or cropped by more are not
    found.

    What to do: Compare the images side by side (`--out FOLDER`, then TB404.png). If they are the same, treat
    them as TB401; `--mute TB404` if they are not.
    """
    if len(facts.manifest.counts) < 2:
        return NotApplicable("the data has only one split")
    title, numbers = count_leaks(facts, "near")
    if not title:
        return ()
    ids = {sample.id for split in EARLIER for sample in leaked(facts, "near", split)}
    groups = [g for g in duplicate_groups(facts, "near") if any(sample.id in ids for sample in g)]
    return (
        Finding(
            "error",
            f"near duplicates (re-encoded, resized, rotated ...): {title}",
            "Metrics on these images measure memorisation and are too good, though their pixels differ.",
            "Compare the images side by side (--out); report metrics without them, or split again.",
            sample_ids(groups),
            numbers,
        ),
    )


@check("TB405", "near duplicates within a split")
def near_duplicates_within_a_split(facts: DatasetFacts) -> Outcome:
    """Report near duplicates within a split.

    Why it matters: As [TB402](#tb402).

    How it is measured: As [TB404](#tb404). Identical copies, which TB402 counts, are not counted again.

    What to do: As TB402; look at TB405.png first.
    """
    groups = without_copies(facts, duplicate_groups(facts, "near"))
    return repeats_within_splits(facts, groups, "near duplicates")


@check("TB406", "near duplicates with different labels")
def near_duplicates_with_two_labels(facts: DatasetFacts) -> Outcome:
    """Report near duplicates in two classes.

    Why it matters: If they show one image, a label is wrong. If they are neighbouring slices of a patient,
    the classes can hardly be distinguished there.

    How it is measured: As [TB404](#tb404).

    What to do: Look at TB406.png and ask who labelled them.
    """
    groups = groups_that_differ(facts, "near", lambda sample: sample.label)
    if not groups:
        return ()
    return (
        Finding(
            "warning",
            f"{len(groups)} {'group' if len(groups) == 1 else 'groups'} of near duplicates have two labels",
            "If they show one image, a label is wrong; if not, the classes are hardly distinguishable there.",
            "Compare the images side by side (--out) and ask who labelled them.",
            sample_ids(groups),
            {"groups": len(groups)},
        ),
    )


CHECKS = (
    identical_across_splits,
    identical_within_a_split,
    identical_with_two_labels,
    near_duplicates_across_splits,
    near_duplicates_within_a_split,
    near_duplicates_with_two_labels,
)
