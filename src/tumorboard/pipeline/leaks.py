"""What the audit found, as the results need it: lines for the top, and images to leave out."""

import json
from collections.abc import Mapping
from typing import Any

from tumorboard import storage
from tumorboard.pipeline.audit import audit
from tumorboard.pipeline.job import Job
from tumorboard.reporting.study import Finding
from tumorboard.runfolder import RunFolder

METADATA = "TB501"
_TOLD, _MISTAKEN = 0.8, 0.1
"""A class is a shortcut if metadata alone find this share of it, and suspect at most this of the others."""


def look(job: Job) -> None:
    """Audit the run's images, unless that is done; the findings reach no fit and no choice."""
    if job.run.audit.is_file():
        return
    window, problems = job.recipe.image.window, job.decoded.problems
    report = audit(job.manifest, job.console, problems=problems, matching=job.matching, window=window)
    storage.write_json(job.run.audit, report.to_json())


def findings(job: Job) -> tuple[Finding, ...]:
    """What the audit found, the worst first."""
    found = _report(job.run)["findings"]
    return tuple(Finding(one["severity"], one["code"], one["title"], one["consequence"]) for one in found)


def valid_subsets(job: Job) -> dict[str, set[str]]:
    """By title, the validation images that are left without twins; the figures on all chose the models."""
    clean = _clean(job, "valid")
    return {"without twins in train": clean} if len(clean) < len(job.part("valid").samples) else {}


def test_subsets(job: Job) -> dict[str, set[str]]:
    """By title, the test images that are left without twins, and without a class that metadata give away."""
    report, test, clean = _report(job.run), job.part("test").samples, _clean(job, "test")
    subsets = {"without twins in train or validation": clean} if len(clean) < len(test) else {}
    for name in _told_by_metadata(report, job.manifest.class_names):
        others = {sample.id for sample in test if sample.label != name} & clean
        subsets[f"nor {name}, which metadata give away"] = others
    return subsets


def _clean(job: Job, split: str) -> set[str]:
    return {sample.id for sample in job.part(split).samples} - set(_report(job.run)["leaked"])


def shortcuts(run: RunFolder, class_names: tuple[str, ...]) -> tuple[str, ...]:
    """The classes that metadata give away, by the run's own audit; none if no other class would be left."""
    told = tuple(_told_by_metadata(_report(run), class_names))
    return told if len(told) < len(class_names) else ()


def _told_by_metadata(report: Mapping[str, Any], class_names: tuple[str, ...]) -> list[str]:
    numbers: dict[str, float] = {}
    for one in report["findings"]:
        if one["code"] == METADATA:
            numbers = one["numbers"]
    return [
        name
        for name in class_names
        if numbers.get(f"{name}: found", 0) >= _TOLD and numbers.get(f"{name}: suspected", 1) <= _MISTAKEN
    ]


def _report(run: RunFolder) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(run.audit.read_text("utf-8"))
    return content
