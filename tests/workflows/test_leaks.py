import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.small_runs import draw
from tests.workflows.test_prepare import prepared
from tumorboard.config import load
from tumorboard.data.image_cache import Decoded
from tumorboard.data.manifest import Manifest, Sample
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder
from tumorboard.workflows.audit import (
    audit_findings,
    audit_images,
    shortcut_classes,
    subsets_without_shortcuts,
)
from tumorboard.workflows.run_context import RunContext


def audited(folder: Path, leaked: list[str], numbers: dict[str, float]) -> RunContext:
    """A job of six test images, two a class, whose audit said this."""
    names = ("cancer", "normal", "other")
    samples = [Sample(f"test/{n}/{i}.png", Path("x"), "test", n, "", "0") for n in names for i in (1, 2)]
    samples += [replace(one, id=one.id.replace("test", "train"), split="train") for one in samples]
    manifest, run = Manifest.of(samples), RunFolder(folder)
    finding = {"severity": "warning", "code": "TB501", "title": "t", "consequence": "c", "numbers": numbers}
    run.audit.write_text(json.dumps({"findings": [finding], "leaked": leaked}))
    return RunContext(run, load("demo"), manifest, Decoded(manifest, None, (), (), ()), Console(True))


def subsets(split: str, job: RunContext) -> dict[str, set[str]]:
    return subsets_without_shortcuts(job.run, job.manifest)[split]


def test_leaked_images_are_left_out_and_nothing_else(tmp_path: Path) -> None:
    found = subsets("test", audited(tmp_path, ["test/normal/1.png"], {}))
    assert list(found) == ["without near duplicates in train or validation"]
    left = found["without near duplicates in train or validation"]
    assert left == {
        *("test/cancer/1.png", "test/cancer/2.png", "test/normal/2.png"),
        *("test/other/1.png", "test/other/2.png"),
    }


def test_leaked_validation_images_are_left_out_of_validation_alone(tmp_path: Path) -> None:
    job = audited(tmp_path, ["valid/normal/1.png"], {})
    moved = [
        replace(one, id=one.id.replace("test", "valid"), split="valid") for one in job.part("test").samples
    ]
    job = replace(job, manifest=Manifest.of([*job.manifest.samples, *moved]))
    (left,) = subsets("valid", job).values()
    assert {sample.id for sample in moved} - left == {"valid/normal/1.png"}
    assert subsets("test", job) == {}


def test_without_leaks_there_is_nothing_to_score_again(tmp_path: Path) -> None:
    job = audited(tmp_path, [], {})
    assert (subsets("test", job), subsets("valid", job)) == ({}, {})


@pytest.mark.parametrize(
    ("sensitivity", "false_positive_rate", "told"),
    [(0.8, 0.1, True), (0.79, 0.1, False), (0.9, 0.11, False), (1.0, 0.0, True)],
)
def test_a_class_is_left_out_if_metadata_alone_give_it_away(
    tmp_path: Path, sensitivity: float, false_positive_rate: float, told: bool
) -> None:
    numbers = {
        "normal: sensitivity": sensitivity,
        "normal: false-positive rate": false_positive_rate,
        "other: sensitivity": 0.9,
    }
    found = subsets("test", audited(tmp_path, ["test/cancer/1.png"], numbers))
    rest = {"test/cancer/2.png", "test/other/1.png", "test/other/2.png"}
    assert (found.get("also without normal, which file metadata reveal") == rest) is told


def test_findings_come_with_what_they_mean(tmp_path: Path) -> None:
    (finding,) = audit_findings(audited(tmp_path, [], {}).run)
    assert (finding.severity, finding.code, finding.title, finding.consequence) == (
        "warning",
        "TB501",
        "t",
        "c",
    )


def test_class_folders_that_differ_by_split_are_found_inside_a_training_too(tmp_path: Path) -> None:
    draw(tmp_path / "data")
    for folder in (tmp_path / "data" / "train").iterdir():
        folder.rename(folder.with_name(f"{folder.name}_left"))
    job = prepared(tmp_path)
    audit_images(job)
    assert "TB301" in {finding.code for finding in audit_findings(job.run)}


def test_shortcuts_are_the_classes_that_metadata_give_away_unless_none_would_be_left(tmp_path: Path) -> None:
    names = ("cancer", "normal", "other")
    numbers = {"normal: sensitivity": 0.9, "normal: false-positive rate": 0.0}
    assert shortcut_classes(audited(tmp_path, [], numbers).run, names) == ("normal",)
    every = {
        f"{n}: {what}": value
        for n in names
        for what, value in (("sensitivity", 1.0), ("false-positive rate", 0.0))
    }
    assert shortcut_classes(audited(tmp_path, [], every).run, names) == ()
