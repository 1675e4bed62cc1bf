"""Check the groups, such as the images of one patient: divided, unknown, or visible in file names only."""

import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import PurePosixPath

import numpy as np
from scipy.stats import binom

from tumorboard.audit.dataset_facts import DatasetFacts
from tumorboard.audit.findings import Finding, NotApplicable, Outcome, check
from tumorboard.data import near_duplicates
from tumorboard.data.manifest import Sample
from tumorboard.data.near_duplicates import Indices

_MAX_IMAGES = 2000  # of a class: enough for the test, and keeps the N x N correlations small
_MIN_AGREEMENT = 0.2  # beyond chance, 1 where all nearest images share the key (as Cohen's kappa)
_P = 1e-3  # of the binomial test

_BRACKETS = re.compile(r"\((\d+)\)$")
_BEFORE_LAST_NUMBER = re.compile(r"^(.*\D)?\d+\D*$", re.DOTALL)


@check("TB407", "groups across splits", "error")
def groups_across_splits(facts: DatasetFacts) -> Outcome:
    """Report groups, such as the images of one patient, with members in more than one split.

    Why it matters: A model can recognise the patient instead of the disease, and does: metrics are too good
    for new patients.

    How it is measured: Groups come from the `group` column of a manifest CSV, or from the PatientID or
    SeriesInstanceUID of DICOM files, hashed. Without groups the check is not applicable, which is not the
    same as passed ([TB408](#tb408)).

    What to do: Make new splits with `tumorboard split`, which keeps groups together.
    """
    if len(facts.manifest.counts) < 2:
        return NotApplicable("the data has only one split")
    members: dict[str, list[Sample]] = defaultdict(list)
    for sample in facts.samples:
        if sample.group:
            members[sample.group].append(sample)
    if not members:
        return NotApplicable("no groups are given")
    divided = [group for group in members.values() if len({sample.split for sample in group}) > 1]
    if not divided:
        return ()
    images = sum(map(len, divided))
    return (
        Finding(
            "error",
            f"{len(divided)} of {len(members)} groups, with {images} images, are in more than one split",
            "A model can recognise the patient instead of the disease; for new ones metrics are too good.",
            "Make new splits with tumorboard split, which keeps groups together.",
            tuple(tuple(sample.id for sample in group) for group in divided),
            {"groups": len(members), "across splits": len(divided), "images": images},
        ),
    )


@check("TB408", "images without a group", "note")
def images_without_a_group(facts: DatasetFacts) -> Outcome:
    """Report how many images belong to no group.

    Why it matters: Whether slices of one patient are in several splits is unknown then. Metrics may be too
    good, and confidence intervals, which assume independent images, too narrow.

    How it is measured: The `group` of the manifest is empty, and no DICOM header gives one.

    What to do: Write a manifest CSV with the columns path, label, split and group, where the group is a
    pseudonym of the patient.
    """
    without = sum(not sample.group for sample in facts.samples)
    if not without:
        return ()
    return (
        Finding(
            "note",
            f"patient independence not checked: {without} of {len(facts.samples)} images belong to no group",
            "Slices of one patient may be in several splits: metrics may be too good, intervals too narrow.",
            "Provide a manifest CSV with a group column that identifies the images of one patient.",
            (),
            {"without": without, "images": len(facts.samples)},
        ),
    )


@check("TB409", "series identified by file names")
def series_in_file_names(facts: DatasetFacts) -> Outcome:
    r"""Report images without a group whose file names share a key and that resemble each other.

    The key is, for example, the number in brackets of `000114 (5).png`; resemble means more similar to each
    other than to the rest of their class.

    Why it matters: Such names often come from several folders copied into one: one number per slice, one per
    scan. With slices of one scan in train and in test a model recognises the patient, and metrics are better
    than they will be on new patients.

    How it is measured: For each of up to 2,000 different images of a class, 64 x 64 grey pixels each, the
    most similar other one is determined. How often both have the same number in brackets (or the same text
    before the last number) is compared with chance: reported are classes with an agreement beyond chance
    above 0.2 (1 where it always holds) and p below 0.001 (binomial). On the study's data the three cancers
    have it, 0.64 of 586 images against 0.17 by chance: 21 series, 19 of them in more than one split. It is
    evidence, not proof; series that file names do not show are not found.

    What to do: Ask who named the files. If the numbers are scans or patients, make new splits that keep them
    together: `tumorboard split DATA --out manifest.csv --group-by-name '^\d+(?: \((\d+)\))?\.png$'`. The
    group is what the brackets of the expression match; images that it does not match stay without a group.
    The metrics on such splits are those to expect on new patients, and may be much lower.
    """
    if all(sample.group for sample in facts.samples):
        return NotApplicable("all images have a group")
    nearest = _nearest_images(facts)
    findings = []
    for rule, key in SERIES_KEYS.items():
        keys = [key(PurePosixPath(sample.id).stem) for sample in facts.samples]
        agreements = {label: _agreement(keys, *pair) for label, pair in nearest.items()}
        agreements = {label: numbers for label, numbers in agreements.items() if _exceeds_chance(*numbers)}
        if agreements:
            findings.append(_series_finding(facts, rule, keys, agreements))
    return tuple(findings)


def _number_in_brackets(stem: str) -> str:
    match = _BRACKETS.search(stem)
    return match[1] if match else "1"  # "slice.png" is beside "slice (2).png"


def _text_before_last_number(stem: str) -> str:
    match = _BEFORE_LAST_NUMBER.search(stem)
    return (match[1] or "") if match else stem


SERIES_KEYS: dict[str, Callable[[str], str]] = {
    "the number in brackets": _number_in_brackets,
    "the text before the last number": _text_before_last_number,
}
"""What of a file name may identify a series."""


def _nearest_images(facts: DatasetFacts) -> dict[str, tuple[Indices, Indices]]:
    """By class some different images without a group, and for each the most similar one among them."""
    distinct = np.sort(np.unique(facts.duplicates.component, return_index=True)[1])
    random = np.random.default_rng(0)
    nearest = {}
    for label in facts.manifest.class_names:
        rows = np.array(
            [i for i in distinct if facts.samples[i].label == label and not facts.samples[i].group]
        )
        if len(rows) > 2:
            rows = np.sort(random.permutation(rows)[:_MAX_IMAGES])
            nearest[label] = rows, rows[near_duplicates.most_similar(facts.thumbnails[rows])]
    return nearest


def _agreement(keys: list[str], rows: Indices, nearest: Indices) -> tuple[int, float, int]:
    """How many images share the key of their nearest, how many would by chance, and of how many."""
    key, nearest_key = (np.array([keys[i] for i in which]) for which in (rows, nearest))
    sizes = np.unique(key, return_counts=True)[1]
    if not 2 <= len(sizes) <= len(rows) / 3:  # a single series, or hardly two images in any
        return 0, 0.0, len(rows)
    chance = float((sizes * (sizes - 1)).sum() / (len(rows) - 1))
    return int((key == nearest_key).sum()), chance, len(rows)


def _exceeds_chance(hits: int, chance: float, count: int) -> bool:
    agreement = (hits - chance) / (count - chance)
    return agreement > _MIN_AGREEMENT and float(binom.sf(hits - 1, count, chance / count)) < _P


def _series_finding(
    facts: DatasetFacts, rule: str, keys: list[str], agreements: dict[str, tuple[int, float, int]]
) -> Finding:
    hits, chance, count = np.sum(list(agreements.values()), axis=0)
    series: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample, key in zip(facts.samples, keys, strict=True):
        if sample.label in agreements and not sample.group:
            series[sample.label, key].append(sample)
    divided = [group for group in series.values() if len({sample.split for sample in group}) > 1]
    classes = ", ".join(agreements)
    return Finding(
        "warning",
        f"By {rule} in their file names, images of {classes} form {len(series)} series of similar "
        f"images, {len(divided)} of them in more than one split",
        f"The most similar image has the same key in its name for {hits / count:.0%} of images ({int(hits)} "
        f"of {int(count)}), by chance for {chance / count:.0%}: series may be patients, whom a model knows.",
        "Ask who named the files; tumorboard split --group-by-name keeps series together.",
        tuple(tuple(sample.id for sample in group) for group in divided),
        {
            "rule": rule,
            "classes": classes,
            "series": len(series),
            "across splits": len(divided),
            "same key": int(hits),
            "images": int(count),
            "expected": round(float(chance), 1),
        },
    )


CHECKS = (groups_across_splits, images_without_a_group, series_in_file_names)
