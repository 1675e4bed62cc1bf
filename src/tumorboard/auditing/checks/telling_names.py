"""TB409: file names that tell which images belong together, though the data names no groups."""

import re
from collections import defaultdict
from collections.abc import Callable, Container, Sequence
from pathlib import PurePosixPath

import numpy as np
from scipy.stats import binom

from tumorboard.auditing.outcome import Check, Finding, NotApplicable, Outcome
from tumorboard.auditing.study import Study
from tumorboard.data import near_duplicates
from tumorboard.data.manifest import Sample
from tumorboard.data.near_duplicates import Indices

_AT_MOST = 2000  # pictures of a class: a sample tells as much, and N x N correlations stay small
_CLEAR = 0.2  # agreement beyond chance, 1 where all neighbours share the key (as Cohen's kappa)
_CHANCE = 1e-3

_BRACKETS = re.compile(r"\((\d+)\)$")
_BEFORE_LAST_NUMBER = re.compile(r"^(.*\D)?\d+\D*$", re.DOTALL)


def _brackets(stem: str) -> str:
    found = _BRACKETS.search(stem)
    return found[1] if found else "1"  # "slice.png" stands beside "slice (2).png"


def _beginning(stem: str) -> str:
    found = _BEFORE_LAST_NUMBER.search(stem)
    return (found[1] or "") if found else stem


RULES: dict[str, Callable[[str], str]] = {
    "the number in brackets": _brackets,
    "what stands before the last number": _beginning,
}


def _look(study: Study) -> Outcome:
    if all(sample.group for sample in study.samples):
        return NotApplicable("the data names the groups of all images")
    near = _neighbours(study)
    findings = (_finding(study, near, rule) for rule in RULES)
    return tuple(found for found in findings if found)


def _neighbours(study: Study) -> dict[str, tuple[Indices, Indices]]:
    """By class some different pictures, and for each the one among them that looks most like it."""
    firsts = np.sort(np.unique(study.twins.unit, return_index=True)[1])
    draws = np.random.default_rng(0)
    found = {}
    for label in study.manifest.class_names:
        own = np.array([i for i in firsts if study.samples[i].label == label and not study.samples[i].group])
        if len(own) > 2:
            picked = np.sort(draws.permutation(own)[:_AT_MOST])
            found[label] = picked, picked[near_duplicates.most_similar(study.thumbnails[picked])]
    return found


def _finding(study: Study, near: dict[str, tuple[Indices, Indices]], rule: str) -> Finding | None:
    keys = [RULES[rule](PurePosixPath(sample.id).stem) for sample in study.samples]
    told = {label: _told(keys, *pair) for label, pair in near.items()}
    told = {label: figures for label, figures in told.items() if _clear(*figures)}
    if not told:
        return None
    hits, chance, count = np.sum(list(told.values()), axis=0)
    series = _series(study.samples, keys, told)
    torn = [one for one in series if len({sample.split for sample in one}) > 1]
    return Finding(
        "warning",
        f"By {rule} in their names, images of {', '.join(told)} fall into {len(series)} series that look "
        f"alike, {len(torn)} of them in more than one split",
        f"The picture most like another has the same in its name in {hits / count:.0%} ({int(hits)} of "
        f"{int(count)}) where chance gives {chance / count:.0%}: series may be patients, whom a model knows.",
        "Ask who named the files; tumorboard split --group-by-name keeps series together.",
        tuple(tuple(sample.id for sample in one) for one in torn),
        {
            "rule": rule,
            "classes": ", ".join(told),
            "series": len(series),
            "torn": len(torn),
            "alike": int(hits),
            "images": int(count),
            "expected": round(float(chance), 1),
        },
    )


def _told(keys: Sequence[str], own: Indices, nearest: Indices) -> tuple[int, float, int]:
    """How many share the key of their nearest, how many would by chance, of how many."""
    mine, theirs = (np.array([keys[i] for i in which]) for which in (own, nearest))
    sizes = np.unique(mine, return_counts=True)[1]
    if not 2 <= len(sizes) <= len(own) / 3:  # one series, or hardly two images in any
        return 0, 0.0, len(own)
    return int((mine == theirs).sum()), float((sizes * (sizes - 1)).sum() / (len(own) - 1)), len(own)


def _clear(hits: int, chance: float, count: int) -> bool:
    beyond = (hits - chance) / (count - chance)
    return beyond > _CLEAR and float(binom.sf(hits - 1, count, chance / count)) < _CHANCE


def _series(samples: Sequence[Sample], keys: Sequence[str], labels: Container[str]) -> list[list[Sample]]:
    found: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample, key in zip(samples, keys, strict=True):
        if sample.label in labels and not sample.group:
            found[sample.label, key].append(sample)
    return list(found.values())


CHECK = Check("TB409", "file names that tell series", _look)
