"""Several runs on the same test images: their recommended models compared, and how runs differ."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING

from tumorboard.errors import RunFolderError, UsageError
from tumorboard.predictions import Predictions
from tumorboard.reporting.judgement import Judgement
from tumorboard.runfolder import RunFolder
from tumorboard.storage import shown

if TYPE_CHECKING:
    from tumorboard.data.manifest import Sample


def compare(runs: Sequence[Path]) -> Judgement:
    """The recommended models of two runs or more, on the test images that they share.

    Raises:
        UsageError: Fewer than two runs, or one twice.
        RunFolderError: A run is not finished.
        DataError: The runs have other test images, labels or classes.
    """
    if len(runs) < 2 or len({run.resolve() for run in runs}) < len(runs):
        raise UsageError("expected two different run folders or more to compare; give each once")
    answers = [_said(run) for run in runs]  # first: it says which run is not finished
    found, contents = {}, [_contents(run) for run in runs]
    ids = {content: sample.id for sample, content in contents[0]}
    for name, (model, said), listed in zip(_names(runs), answers, contents, strict=True):
        same = {sample.id: ids.get(content, sample.id) for sample, content in listed}
        found[f"{name}: {model}"] = replace(said, ids=tuple(same.get(one, one) for one in said.ids))
    scores = [float((one.labels == one.predicted).mean()) for one in found.values()]
    spread = (
        f"Test accuracy over {len(runs)} runs: mean {mean(scores):.3f}, standard deviation "
        f"{stdev(scores):.3f}, lowest {min(scores):.3f}, highest {max(scores):.3f}."
    )
    groups = {sample.id: sample.group for sample, _ in contents[0] if sample.group}
    caution = (
        "Choosing a run by these figures would be a choice made on test: its figure would then be too good. "
        "Runs that differ in the seed alone are one method; report their mean and spread, not the best."
    )
    return Judgement("Runs compared on test", found, notes=(spread, caution), groups=groups)


def _names(runs: Sequence[Path]) -> list[str]:
    """Folder names where they differ, else paths."""
    short = [run.resolve().name for run in runs]
    return short if len(set(short)) == len(short) else [str(run) for run in runs]


def _said(root: Path) -> tuple[str, Predictions]:
    """The recommended model and what it says of test."""
    run = RunFolder(root)
    try:
        model = str(json.loads(run.metrics.read_text("utf-8"))["recommendation"]["model"])
        path = run.predictions(model, "test")
        return model, Predictions.from_csv(path.read_text("utf-8"), str(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(
            f"expected a finished run in {shown(root)}, found none that can be read; repeat tumorboard train"
        ) from error


def _contents(root: Path) -> list[tuple["Sample", tuple[str, str, int]]]:
    """Each sample with its hash, its label and which such file it is; its id, a path, may differ by run."""
    from tumorboard.pipeline.job import samples

    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for sample in samples(RunFolder(root)).samples:
        what = (sample.sha256, sample.label)
        found.append((sample, (*what, seen[what])))
        seen[what] += 1
    return found
