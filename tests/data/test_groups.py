from pathlib import Path

import pytest

from tumorboard.data.class_matching import match
from tumorboard.data.groups import group_by_name
from tumorboard.data.manifest import DataSource, Loaded, Manifest, Sample
from tumorboard.errors import UsageError

PATTERN = r"^\d+(?: \((\d+)\))?\.png$"


def loaded(*names: str, group: str = "") -> Loaded:
    samples = [
        Sample(f"{label}/{name}", Path(f"/{label}/{name}"), "", label, group, "")
        for label in "ab"
        for name in names
    ]
    return Loaded(DataSource(Path("data")), Manifest.of(samples), match({"": {"a", "b"}}), ())


def test_the_class_and_what_stands_in_brackets_are_the_group() -> None:
    found = group_by_name(loaded("7.png", "8.png", "7 (2).png", "x1.png"), PATTERN).manifest.samples
    assert {sample.id: sample.group for sample in found} == {
        "a/7.png": "a/",
        "a/8.png": "a/",
        "a/7 (2).png": "a/2",
        "a/x1.png": "",
        "b/7.png": "b/",
        "b/8.png": "b/",
        "b/7 (2).png": "b/2",
        "b/x1.png": "",
    }


def test_without_a_pattern_nothing_changes() -> None:
    data = loaded("7.png")
    assert group_by_name(data, "") is data


@pytest.mark.parametrize(
    ("pattern", "said"),
    [("(", "regular expression"), (r"\d+", "in brackets"), (r"(no such name)", "none that")],
)
def test_a_pattern_that_cannot_group_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        group_by_name(loaded("7.png"), pattern)


def test_groups_that_the_data_names_stay() -> None:
    with pytest.raises(UsageError, match="no group yet"):
        group_by_name(loaded("7.png", group="patient"), PATTERN)
