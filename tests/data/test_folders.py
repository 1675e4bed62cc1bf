"""What a folder may hold, and what is told about it; the files here are bytes, nothing opens them."""

import os
import socket

import pytest

from tumorboard.data.class_folders import scan
from tumorboard.errors import DataError

from .pictures import plant


def two_classes(*parts: str) -> dict[str, bytes]:
    return {f"{part}{c}/{n}.png": b"x" for part in parts or ("",) for c in ("a", "b") for n in (1, 2)}


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train", "valid", "test"), ["train", "valid", "test"]),
        (("Train", "VAL", "Testing"), ["train", "valid", "test"]),
        (("training", "validation"), ["train", "valid"]),
        (("test",), ["test"]),
    ],
)
def test_parts_go_by_many_names(names, splits, tmp_path):
    found = scan(plant(tmp_path, two_classes(*(f"{name}/" for name in names))))
    assert list(found.folders) == splits
    assert set(found.folders.values()) == {("a", "b")}
    assert {entry.split for entry in found.entries} == set(splits)
    assert found.problems == ()


def test_class_folders_without_parts(tmp_path):
    found = scan(plant(tmp_path, two_classes()))
    assert [(e.id, e.split, e.folder) for e in found.entries] == [
        ("a/1.png", "", "a"),
        ("a/2.png", "", "a"),
        ("b/1.png", "", "b"),
        ("b/2.png", "", "b"),
    ]
    assert all(entry.path.is_absolute() for entry in found.entries)


def test_images_may_lie_deeper(tmp_path):
    found = scan(plant(tmp_path, {"train/a/p1/x/1.png": b"x", "train/b/2.png": b"x"}))
    assert [(e.id, e.folder) for e in found.entries] == [("train/a/p1/x/1.png", "a"), ("train/b/2.png", "b")]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "expected class folders in"),
        ({"1.png": b"x"}, "expected class folders in"),
        (two_classes("train/", "holdout/"), "found also 'holdout'"),
        (two_classes("train/", "valid/", "val/"), "expected one valid folder"),
        (two_classes("fold1/", "fold2/"), "'fold1', 'fold2', which all hold the same folders"),
    ],
)
def test_layouts_that_are_not_understood(files, reason, tmp_path):
    with pytest.raises(DataError, match=reason) as caught:
        scan(plant(tmp_path, files))
    assert len(str(caught.value)) <= 300


def test_a_missing_folder(tmp_path):
    with pytest.raises(DataError, match="found neither at"):
        scan(tmp_path / "gone")


def test_litter_of_operating_systems_is_left_out(tmp_path):
    litter = [".DS_Store", "Thumbs.db", "desktop.ini", "a/.hidden.png", "a/THUMBS.DB", "__MACOSX/a/1.png"]
    litter += ["README.md", "LICENSE", "a/readme.txt", ".git/config"]
    found = scan(plant(tmp_path, two_classes() | dict.fromkeys(litter, b"x")))
    assert len(found.entries) == 4
    assert found.problems == ()


def test_every_planted_problem_is_named_and_no_good_file(tmp_path):
    good = {f"train/{c}/good-{n}.png": b"x" for c in ("a", "b") for n in range(50)}
    longest = "é" * 125 + "x.png"
    twins = {"train/a/Twin.png": b"x", "train/a/twin.png": b"x", f"train/a/{longest}": b"x"}
    plant(tmp_path, good | twins)
    a = tmp_path / "train" / "a"
    (a / "zero.png").touch()
    (a / "folder.png").mkdir()
    (a / "dangling.png").symlink_to("gone")
    (a / "itself.png").symlink_to("itself.png")
    (a / "device.png").symlink_to("/dev/zero")
    (a / "loop").symlink_to(a)
    (a / "line\nbreak.png").write_bytes(b"x")
    (a / "huge.png").write_bytes(b"x")
    os.truncate(a / "huge.png", 2 << 30)
    os.mkfifo(a / "pipe.png")
    with open(os.fsencode(a) + b"/latin-\xe9.png", "wb") as file:
        file.write(b"x")
    plant(tmp_path, {"stray.csv": b"x", "train/loose.png": b"x"})
    planted = [
        "zero.png",
        "folder.png",
        "dangling.png",
        "itself.png",
        "device.png",
        "a/loop",
        "line\\nbreak.png",
    ]
    planted += ["huge.png", "pipe.png", "latin-\\udce9.png", "stray.csv", "loose.png"]
    found = scan(tmp_path)
    assert len(found.problems) == len(planted)
    assert all(sum(name in line for line in found.problems) == 1 for name in planted), found.problems
    assert {entry.id for entry in found.entries} == {*good, *twins}
    assert all(len(line) <= 300 and "\n" not in line for line in found.problems)


def test_a_socket_is_named(tmp_path, monkeypatch):
    plant(tmp_path, two_classes())
    monkeypatch.chdir(tmp_path / "a")  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("talk.png")
        assert "talk.png" in scan(tmp_path).problems[0]


def test_links_that_multiply_are_followed_once(tmp_path):
    """Thirty levels of two links each would be 2**30 folders."""
    plant(tmp_path, two_classes())
    for level in range(30):
        (tmp_path / "a" / f"level{level}").mkdir()
        (tmp_path / "a" / f"level{level}" / "left").symlink_to(tmp_path / "a" / f"level{level + 1}")
        (tmp_path / "a" / f"level{level}" / "right").symlink_to(tmp_path / "a" / f"level{level + 1}")
    found = scan(tmp_path)
    assert len(found.entries) == 4
    assert any("links to a folder that was read already" in line for line in found.problems)


def test_a_linked_class_folder_is_followed(tmp_path):
    elsewhere = plant(tmp_path / "elsewhere", {"1.png": b"x"})
    data = plant(tmp_path / "data", {"a/1.png": b"x"})
    (data / "b").symlink_to(elsewhere)
    assert [entry.id for entry in scan(data).entries] == ["a/1.png", "b/1.png"]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    plant(tmp_path, two_classes() | {"a/closed/1.png": b"x"})
    listing = type(tmp_path).iterdir

    def iterdir(path):
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return listing(path)

    monkeypatch.setattr(type(tmp_path), "iterdir", iterdir)
    found = scan(tmp_path)
    assert len(found.problems) == 1
    assert "closed: cannot be listed (Permission denied)" in found.problems[0]
