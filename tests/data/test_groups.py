from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tumorboard.data.manifest import DataSource, load
from tumorboard.errors import UsageError

PATTERN = r"^\d+(?: \((\d+)\))?\.png$"


def write(root: Path, *names: str) -> Path:
    """Files in the class folders a and b."""
    for label in "ab":
        for name in names:
            file = root / "data" / label / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((2, 2), np.uint8)).save(file)
    return root / "data"


def groups(data: Path, **options: object) -> dict[str, str]:
    source = DataSource(data, **options)  # type: ignore[arg-type]
    return {sample.id: sample.group for sample in load(source).manifest.samples}


def test_the_class_and_what_stands_in_brackets_are_the_group(tmp_path: Path) -> None:
    data = write(tmp_path, "7.png", "8.png", "7 (2).png", "x1.png")
    assert groups(data, group_by_name=PATTERN) == {
        "a/7.png": "a/",
        "a/8.png": "a/",
        "a/7 (2).png": "a/2",
        "a/x1.png": "",
        "b/7.png": "b/",
        "b/8.png": "b/",
        "b/7 (2).png": "b/2",
        "b/x1.png": "",
    }


def test_a_group_can_have_images_of_several_classes(tmp_path: Path) -> None:
    data = write(tmp_path, "p7_1.png", "p8_1.png")
    found = groups(data, group_by_name=r"^p(\d+)", groups_across_classes=True)
    assert found == {"a/p7_1.png": "7", "a/p8_1.png": "8", "b/p7_1.png": "7", "b/p8_1.png": "8"}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "regular expression"), (r"\d+", "in brackets"), (r"(no such name)", "found none")],
)
def test_a_pattern_that_cannot_group_is_refused(pattern: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        load(DataSource(write(tmp_path, "7.png", "8.png"), group_by_name=pattern))


def test_a_folder_in_a_class_folder_is_a_patient(tmp_path: Path) -> None:
    data = write(tmp_path, "anna/1.png", "anna/left/2.png", "berta/1.png", "1.png")
    found = groups(data, group_by_folder=True)
    assert found["a/anna/1.png"] == found["a/anna/left/2.png"] == found["b/anna/1.png"] == "anna"
    assert (found["a/berta/1.png"], found["a/1.png"]) == ("berta", "")
    with pytest.raises(UsageError, match="a folder per patient"):
        load(DataSource(write(tmp_path / "flat", "1.png", "2.png"), group_by_folder=True))


@pytest.mark.parametrize("column", ["group", "Patient", "patient_id", "PatientID", "subject"])
def test_a_column_names_the_patient(column: str, tmp_path: Path) -> None:
    table = f"path,label,{column}\na/1.png,a,x\na/2.png,a,x\nb/1.png,b,y\nb/2.png,b,\n"
    file = write(tmp_path, "1.png", "2.png") / "table.csv"
    file.write_text(table)
    assert groups(file) == {"a/1.png": "x", "a/2.png": "x", "b/1.png": "y", "b/2.png": ""}


def test_another_column_is_taken_if_it_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, "1.png", "2.png") / "table.csv"
    file.write_text("path,label,group,ward\na/1.png,a,g,x\na/2.png,a,g,x\nb/1.png,b,g,y\nb/2.png,b,g,z\n")
    assert set(groups(file, group_column="Ward").values()) == {"x", "y", "z"}
    with pytest.raises(UsageError, match="--group-column"):
        load(DataSource(file, group_column="bed"))
    with pytest.raises(UsageError, match="--group-by-folder"):
        load(DataSource(file.parent, group_column="ward"))


def test_groups_that_the_data_names_stay(tmp_path: Path) -> None:
    file = write(tmp_path, "7.png", "8.png") / "table.csv"
    file.write_text("path,label,group\na/7.png,a,x\na/8.png,a,\nb/7.png,b,y\nb/8.png,b,y\n")
    assert groups(file, group_by_name=PATTERN) == {
        "a/7.png": "x",
        "a/8.png": "a/",
        "b/7.png": "y",
        "b/8.png": "y",
    }
