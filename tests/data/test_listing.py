import os
from pathlib import Path

import pytest

from tumorboard.data.class_folders import files
from tumorboard.errors import DataError


@pytest.fixture
def tree(tmp_path):
    for name in ("b/2.png", "b/1.dcm", "a/deep/x.png", "z.txt", ".git/config", "b/Thumbs.db"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "tree"


def names(sources, root):
    return [os.path.relpath(path, root) for path in files(sources)]


def test_a_folder_gives_every_file_below_it_in_order(tree):
    assert names([tree], tree) == ["z.txt", "a/deep/x.png", "b/1.dcm", "b/2.png"]
    (tree / "a" / "loop").symlink_to(tree)
    assert len(names([tree], tree)) == 4


def test_files_are_taken_as_they_are_named_and_as_often(tree):
    chosen = [tree / "z.txt", tree / "missing.png", tree / "z.txt"]
    assert list(files(chosen)) == chosen


def test_a_list_is_relative_to_its_own_folder(tree):
    (tree / "list.csv").write_text("\ufeffLabel, Path \nx,b/2.png\n\ny, /abs/1.png\n", "utf-8")
    assert list(files([tree / "list.csv"])) == [tree / "b/2.png", Path("/abs/1.png")]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "a column path"),
        (b"path,path\na,b\n", "a column path"),
        (b"label,path\na\n", "line 2"),
        (b"path\n\xff\n", "UTF-8"),
        (b'path\n"a"b\n', "a fault"),
    ],
)
def test_a_list_that_is_none_is_named(tree, content, match):
    (tree / "list.csv").write_bytes(content)
    with pytest.raises(DataError, match=match) as caught:
        list(files([tree / "list.csv"]))
    assert "list.csv" in str(caught.value)


def test_a_missing_list_is_named(tree):
    with pytest.raises(DataError, match=r"missing\.csv"):
        list(files([tree / "missing.csv"]))
