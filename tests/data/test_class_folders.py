"""What a folder may hold, and what is told about it; the files here are bytes, nothing opens them."""

import os
import socket
from pathlib import Path

import pytest

from tumorboard import NOTICE
from tumorboard.data.class_folders import files, problem_with, scan
from tumorboard.data.left_out import BY_NAME, LINK, WRITTEN
from tumorboard.errors import DataError

from .pictures import close, plant


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


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        (
            two_classes("train/") | {f"test/{n}.png": b"x" for n in range(3)},
            ["3 files and no class folder", "mv", "tumorboard predict RUN unlabelled"],
        ),
        (two_classes("scans/train/"), ["only the folder 'scans'", "'train'", "/scans instead"]),
        (two_classes("scans/"), ["only the folder 'scans'", "'a', 'b'", "/scans instead"]),
    ],
)
def test_what_was_seen_and_what_mends_it_are_named(planted, said, tmp_path):
    with pytest.raises(DataError) as caught:
        scan(plant(tmp_path, planted))
    assert all(text in str(caught.value) for text in said), str(caught.value)
    assert len(str(caught.value)) <= 300


def test_an_empty_leftover_folder_is_named(tmp_path):
    plant(tmp_path, two_classes("train/", "test/"))
    (tmp_path / "train" / "New folder").mkdir()
    with pytest.raises(DataError, match=r"found the empty folder .*New folder; .*rmdir '.*New folder'"):
        scan(tmp_path)
    (tmp_path / "test" / "New folder").mkdir()
    assert scan(tmp_path).folders["train"] == ("New folder", "a", "b")


def test_equal_folders_in_classes_are_decided_by_naming_the_classes(tmp_path):
    planted = {
        f"{c}/{part}/{n}.png": b"x" for c in ("benign", "malignant") for part in ("40X", "100X") for n in "12"
    }
    plant(tmp_path, planted)
    with pytest.raises(DataError, match="say which are the classes") as caught:
        scan(tmp_path)
    assert "--class-map benign=benign --class-map malignant=malignant" in caught.value.details[1]
    found = scan(tmp_path, ["benign", "malignant"])
    assert found.folders == {"": ("benign", "malignant")}
    assert len(found.entries) == 8


def test_masks_are_no_images(tmp_path):
    planted = {f"{c}/{kind}/{n}.png": b"x" for c in ("a", "b") for kind in ("images", "masks") for n in "12"}
    found = scan(plant(tmp_path, planted | {"masks/images/1.png": b"x"}))
    assert {entry.id.split("/")[1] for entry in found.entries} == {"images"}
    assert found.folders[""] == ("a", "b", "masks")
    assert [line.partition(": masks among")[0] for line in found.problems] == [
        str(tmp_path / c / "masks") for c in ("a", "b")
    ]


def test_an_accent_in_two_unicode_forms_is_one_class(tmp_path):
    one, two = "L\u00e4nge", "La\u0308nge"
    plant(tmp_path, {f"{part}/{c}/1.png": b"x" for part, c in (("train", one), ("test", two))})
    plant(tmp_path, {f"{part}/b/1.png": b"x" for part in ("train", "test")} | {f"train/{two}/2.png": b"x"})
    found = scan(tmp_path)
    assert found.folders == {"train": (one, "b"), "test": (one, "b")} or set(found.folders["train"]) == {
        one,
        "b",
    }
    assert {entry.folder for entry in found.entries} == {one, "b"}
    (tmp_path / "list.csv").write_text(f"path\ntest/{one}/1.png\n")
    assert list(files([tmp_path / "list.csv"])) == [tmp_path / "test" / two / "1.png"]


def test_a_missing_folder(tmp_path):
    with pytest.raises(DataError, match="found neither at"):
        scan(tmp_path / "gone")


def test_litter_of_operating_systems_is_left_out(tmp_path):
    litter = [".DS_Store", "Thumbs.db", "desktop.ini", "a/.hidden.png", "a/THUMBS.DB", "__MACOSX/a/1.png"]
    litter += ["README.md", "LICENSE", "a/readme.txt", ".git/config"]
    found = scan(plant(tmp_path, two_classes() | dict.fromkeys(litter, b"x")))
    assert len(found.entries) == 4
    assert found.problems == ()
    assert {entry.reason for entry in found.left_out} == {BY_NAME}
    assert sum(entry.count for entry in found.left_out) == len(litter)
    assert sorted(found.left_out[0].names) == sorted({name.partition("/")[0] for name in litter} - {"a"})


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
    close(monkeypatch, "closed")
    found = scan(tmp_path)
    assert len(found.problems) == 1
    assert "closed: cannot be listed (Permission denied)" in found.problems[0]


def test_a_folder_belongs_to_the_class_that_holds_it_whatever_links_to_it(tmp_path):
    plant(tmp_path, two_classes() | {"b/deep/3.png": b"x"})
    (tmp_path / "a" / "alias").symlink_to(tmp_path / "b" / "deep")
    (tmp_path / "a" / "up").symlink_to(tmp_path.parent)
    found = scan(tmp_path)
    assert ("b/deep/3.png", "b") in {(entry.id, entry.folder) for entry in found.entries}
    assert len(found.entries) == 5
    assert [line.partition(":")[0] for line in found.problems] == [
        str(tmp_path / "a" / "alias"),
        str(tmp_path / "a" / "up"),
    ]


def test_what_tumorboard_wrote_among_the_images_is_no_class_and_no_problem(tmp_path):
    plant(
        tmp_path, two_classes() | {"audit/report.html": NOTICE.encode(), "run/state/fingerprint.json": b"{}"}
    )
    plant(tmp_path, {"manifest.csv": b"path,label,split,group\n", "a/maps.csv": NOTICE.encode()})
    found = scan(tmp_path)
    assert (len(found.entries), found.problems, set(found.folders[""])) == (4, (), {"a", "b"})
    assert {(entry.folder, entry.names) for entry in found.left_out} == {
        (tmp_path, ("audit", "manifest.csv", "run")),
        (tmp_path / "a", ("maps.csv",)),
    }


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


def test_linked_folders_are_read_once_and_after_the_others(tree, tmp_path):
    archive = plant(tmp_path / "archive", {"p1/1.png": b"x", "p2/2.png": b"x"})
    (archive / "p1" / "other").symlink_to("../p2")
    for link, place in {"a/first": archive, "again": archive, "deep": "a/deep", "up": ".."}.items():
        (tree / link).symlink_to(place)
    left_out = []
    found = list(files([tree], left_out))
    assert [os.path.relpath(path, tree) for path in found] == [
        *("z.txt", "a/deep/x.png", "b/1.dcm", "b/2.png"),
        *("again/p1/1.png", "again/p2/2.png"),
    ]
    links = {f"{entry.folder}/{entry.names[0]}" for entry in left_out if entry.reason == LINK}
    assert links == {str(tree / name) for name in ("a/first", "again/p1/other", "deep", "up")}


def test_a_folder_that_cannot_be_listed_takes_the_place_of_its_files(tree, monkeypatch):
    close(monkeypatch, "b")
    assert names([tree], tree) == ["z.txt", "a/deep/x.png", "b"]
    assert "b: cannot be listed (Permission denied)" in problem_with(tree / "b", "b")
    assert list(files([tree / "b"])) == [tree / "b"]


def test_what_is_no_input_is_counted(tree):
    plant(tree, {"b/table.csv": NOTICE.encode(), "b/1-x-custom.png": NOTICE.encode()})
    left_out = []
    assert len(list(files([tree], left_out))) == 4
    assert [(entry.folder, entry.names, entry.reason) for entry in left_out] == [
        (tree, (".git",), BY_NAME),
        (tree / "b", ("Thumbs.db",), BY_NAME),
        (tree / "b", ("1-x-custom.png", "table.csv"), WRITTEN),
    ]
    assert names([tree / "b" / "1-x-custom.png"], tree) == []


def test_files_are_taken_as_they_are_named_and_as_often(tree):
    chosen = [tree / "b/2.png", tree / "missing.png", tree / "b/2.png"]
    assert list(files(chosen)) == chosen


def test_a_list_is_relative_to_its_own_folder(tree):
    (tree / "list.csv").write_text("\ufeffLabel, Path \nx,b/2.png\n\ny, /abs/1.png\n", "utf-8")
    assert list(files([tree / "list.csv"])) == [tree / "b/2.png", Path("/abs/1.png")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.txt", "b\\2.png\r\n\r\na/deep/x.png\r\n"),
        ("list.TXT", '\ufeff"b\\2.png"\n"a\\deep\\x.png"'),
        ("list.tsv", "nr\tFile name\n1\tb/2.png\n2\ta/deep/x.png\n"),
        ("list.csv", "sep=;\nfile;note\nb\\2.png;a, b\na/deep/x.png;\n"),
    ],
)
def test_lists_are_text_and_tables_of_any_program(tree, name, text):
    (tree / name).write_bytes(text.encode("utf-16" if name == "list.txt" else "utf-8"))
    assert list(files([tree / name])) == [tree / "b/2.png", tree / "a/deep/x.png"]


def test_text_that_is_no_list_is_refused_as_a_whole(tree):
    (tree / "notes.txt").write_text("These images\nmay be used by everybody.\n")
    with pytest.raises(DataError, match=r"notes\.txt names, found none of the 2, the first .*These images"):
        list(files([tree / "notes.txt"]))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "the column path"),
        (b"path,path\na,b\n", "the column path"),
        (b"label,path\na\n", "line 2"),
        (b"path\n\x81\n", "UTF-8"),
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


def test_a_regular_file_has_no_fault(tmp_path):
    path = tmp_path / "narrow\u202fspace é 漢.png"
    path.write_bytes(b"x")
    assert problem_with(path, path.name) == ""


def test_names_that_no_table_can_carry(tmp_path):
    for name in ("a\nb.png", "a\rb.png", "a\x7fb.png", "a\udce9.png"):
        assert "control characters; rename" in problem_with(tmp_path / name, name)


def test_what_is_no_file_is_said(tmp_path):
    assert "found a folder" in problem_with(tmp_path, "x")
    assert "No such file" in problem_with(tmp_path / "gone", "gone")
