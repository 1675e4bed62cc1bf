"""The folds' ensembles averaged into one model: bagging, with folds in the place of bootstrap samples."""

from collections.abc import Sequence
from dataclasses import replace

from tumorboard import locking, runfolder, storage
from tumorboard.combining import ensemble
from tumorboard.combining.rules import Rule
from tumorboard.console import Console
from tumorboard.data.manifest import Manifest, write_csv
from tumorboard.models import storing
from tumorboard.models.contract import Contract
from tumorboard.pipeline.evaluate import evaluate_data
from tumorboard.pipeline.job import samples
from tumorboard.pipeline.results import count_look_at_test
from tumorboard.runfolder import RunFolder

NAME = "bagged"


def bag(whole: RunFolder, data: RunFolder, folds: Sequence[RunFolder], console: Console) -> None:
    """Make `STUDY/bagged`, a folder that `predict` and `evaluate` take, and score its model on test.

    No fold's models have seen test, so that this figure is an honest one. Every other image was learnt by
    most of them: there the bag as a whole cannot be judged, and nothing is chosen or recommended by it.

    Args:
        whole: The repeated study.
        data: Where its manifest lies.
        folds: The folds' finished runs.
        console: Where progress is shown.
    """
    run = RunFolder(whole.root / NAME)
    with locking.locked(run):
        _make(run, folds)
        runfolder.write_checksums(run)
        known = samples(data)
        if not (run.root / "evaluations" / "manifest" / "metrics.json").is_file():
            _write_manifest(run, known, "train", "valid")  # test is new to it, and its page says so
            count_look_at_test(run, len(known.part("test").samples))
            evaluate_data(run.root, data.manifest, console=console)
        _write_manifest(run, known, "train", "valid", "test")


def _make(run: RunFolder, folds: Sequence[RunFolder]) -> None:
    if storing.is_saved(run.model(NAME)):
        return
    members = [storing.load(fold.model("ensemble")) for fold in folds]
    model = ensemble.build(NAME, members, Rule("B"))
    details = {"form": "B", "members": [f"{fold.root.name}/ensemble" for fold in folds]}
    first = members[0][1]
    storing.save(model, Contract(NAME, "ensemble", first.class_names, first.image, details), run.model(NAME))


def _write_manifest(run: RunFolder, known: Manifest, *splits: str) -> None:
    """The samples of these splits; validation too was learnt from."""
    some = [one for one in known.samples if one.split in splits]
    learnt = [replace(one, split="train") if one.split == "valid" else one for one in some]
    storage.write_text(run.manifest, write_csv(replace(known, samples=tuple(learnt))))
