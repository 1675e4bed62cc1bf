import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.auditing.studies import Row, only, passes, reason, scene, study
from tumorboard.auditing.checks.telling_names import CHECK
from tumorboard.auditing.study import Study
from tumorboard.data.manifest import Manifest

Name = Callable[[int, int], str]


def of_scans(name: Name, *, scans: int = 5, slices: int = 12, alike: bool = True, label: str = "a") -> Study:
    """Slices of several scans; `alike` blends each slice with what is common to its scan."""
    rows, names = [], []
    for scan in range(scans):
        for number in range(slices):
            own = scene(1000 + 100 * scan + number).astype(float)
            common = scene(scan).astype(float)
            rows.append(
                Row(
                    split="test" if number > 8 else "train",
                    label=label,
                    thumbnail=(0.5 * own + 0.5 * common * alike + 64 * (not alike)).astype(np.uint8),
                )
            )
            names.append(name(scan, number))
    plain = study(rows)
    samples = [
        dataclasses.replace(sample, id=one, path=Path(one))
        for sample, one in zip(plain.samples, names, strict=True)
    ]
    order = np.argsort(names)  # a manifest sorts by id
    return dataclasses.replace(
        plain, manifest=Manifest.of(samples), thumbnails=plain.thumbnails[order], pictures=plain.pictures
    )


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        (lambda scan, n: f"a/{n:06d}{f' ({scan + 1})' if scan else ''}.png", "the number in brackets"),
        (lambda scan, n: f"a/patient{scan}_slice{n}.png", "what stands before the last number"),
    ],
)
def test_names_of_slices_that_look_alike_are_series(name: Name, rule: str) -> None:
    found = only(CHECK, of_scans(name))
    assert found.severity == "warning"
    assert found.numbers["rule"] == rule
    assert (found.numbers["series"], found.numbers["torn"]) == (5, 5)
    assert {len(series) for series in found.files} == {12}
    assert "--group-by-name" in found.remedy


def test_names_that_say_nothing_of_the_pictures_pass() -> None:
    assert passes(CHECK, of_scans(lambda scan, n: f"a/{n:06d} ({scan + 1}).png", alike=False))


def test_a_name_for_every_picture_passes() -> None:
    assert passes(CHECK, of_scans(lambda scan, n: f"a/{'abcdefghijkl'[n] * (scan + 1)}1.png"))


def test_groups_that_are_known_are_not_guessed() -> None:
    assert "groups" in reason(CHECK, study([Row(group="p"), Row(group="q")]))
