import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tumorboard.data.manifest import (
    DataSource,
    Manifest,
    Sample,
    list_csv,
    load,
    read_csv,
    require_usable,
    write_csv,
)
from tumorboard.errors import DataError

from .pictures import grey_png, plant


def sample(name: str, split: str, label: str) -> Sample:
    return Sample(name, Path("/data") / name, split, label, "", "00")


SMALL = Manifest.of(
    [
        sample("d", "test", "y"),
        sample("b", "train", "y"),
        sample("a", "train", "x"),
        sample("c", "train", "y"),
    ]
)


def test_samples_are_sorted_and_labelled():
    assert SMALL.ids == ("a", "b", "c", "d")
    assert SMALL.class_names == ("x", "y")
    np.testing.assert_array_equal(SMALL.labels, [0, 1, 1, 1])
    assert SMALL.labels.dtype == np.int64


def test_a_part_keeps_the_class_names_of_the_whole():
    test = SMALL.select("test")
    assert test.ids == ("d",)
    assert test.class_names == ("x", "y")
    np.testing.assert_array_equal(test.labels, [1])


def test_counts_name_every_class():
    assert SMALL.counts == {"train": {"x": 1, "y": 2}, "test": {"x": 0, "y": 1}}


def test_csv_there_and_back():
    odd = Manifest.of([Sample('a, "b" é.png', Path("/d/a"), "", "x", "p,1", "ff"), *SMALL.samples])
    assert read_csv(write_csv(odd), "manifest.csv") == odd
    assert write_csv(SMALL).splitlines()[:2] == ["id,path,split,label,group,sha256", "a,/data/a,train,x,,00"]


@pytest.mark.parametrize("text", ["", "id,path\na,b\n", "id,path,split,label,group,sha256\na,b\n"])
def test_a_damaged_csv_is_refused(text):
    with pytest.raises(DataError, match=r"run/manifest\.csv"):
        read_csv(text, "run/manifest.csv")


def study(folder: Path) -> Path:
    files = {
        f"{split}/{name}{tail}/{n}.png": grey_png(n)
        for split, tail in (("train", "_left"), ("val", ""))
        for name in ("tumour", "normal")
        for n in range(2)
    }
    return plant(folder, files)


def test_load_matches_hashes_and_sorts(tmp_path):
    loaded = load(study(tmp_path))
    assert loaded.manifest.counts == {split: {"normal": 2, "tumour": 2} for split in ("train", "valid")}
    assert loaded.manifest.ids == tuple(sorted(loaded.manifest.ids))
    assert loaded.matching.rows[1] == ("tumour", "tumour_left", "tumour")
    first = loaded.manifest.samples[0]
    assert first.id == "train/normal_left/0.png"
    assert first.sha256 == hashlib.sha256(grey_png(0)).hexdigest()
    assert loaded.problems == ()


def test_a_csv_gives_the_same_samples(tmp_path):
    loaded = load(study(tmp_path)).manifest
    lines = [f"{s.id},{s.split},{s.label}" for s in reversed(loaded.samples)]
    table = tmp_path / "all.csv"
    table.write_text("path,split,label\n" + "\n".join(lines), encoding="utf-8")
    assert load(table).manifest == loaded


def test_a_source_is_a_path_or_what_is_known_of_it(tmp_path):
    source = DataSource(tmp_path, merge={"ab": ["a", "b"]}, skip_bad=True)
    assert DataSource.of(source) is source
    assert DataSource.of(str(tmp_path)) == DataSource.of(tmp_path) == DataSource(tmp_path)
    assert DataSource(str(tmp_path)).path == tmp_path


def test_class_map_and_merge_reach_the_manifest(tmp_path):
    plant(study(tmp_path), {f"{s}/benign/{n}.png": grey_png(n) for s in ("train", "val") for n in range(2)})
    class_map, merge = {"healthy": ["normal", "normal_left"]}, {"finding": ["tumour", "benign"]}
    assert load(DataSource(tmp_path, class_map, merge)).manifest.class_names == ("finding", "healthy")


def test_excluded_images_are_left_out_and_counted(tmp_path):
    whole = load(study(tmp_path))
    excluded = ("train/tumour_left/1.png", "val/normal/0.png")
    plant(tmp_path, {"train/tumour_left/2.png": grey_png(2)})
    loaded = load(DataSource(tmp_path, exclude=excluded))
    assert set(loaded.manifest.ids) == {*whole.manifest.ids, "train/tumour_left/2.png"} - set(excluded)
    (entry,) = loaded.left_out
    assert (entry.names, entry.count, entry.reason) == (excluded, 2, "left out by choice")


def test_an_excluded_image_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"found 1 of 2 missing, the first 'train/none\.png'") as caught:
        load(DataSource(study(tmp_path), exclude=["val/normal/0.png", "train/none.png"]))
    assert caught.value.details == ("train/none.png",)


def test_samples_of_no_part_count_as_train(tmp_path):
    plant(tmp_path, {f"{n}.png": grey_png(n) for n in range(6)})
    rows = "0.png,a,train\n1.png,a,\n2.png,b,\n3.png,b,\n4.png,a,test\n5.png,b,test\n"
    table = tmp_path / "t.csv"
    table.write_text(f"path,label,split\n{rows}", encoding="utf-8")
    loaded = load(table)
    assert loaded.manifest.counts["train"] == {"a": 1, "b": 0}
    assert loaded.matching.splits == ("train", "test")


@pytest.mark.parametrize("missing", ["nan", "NaN", "NA", "<NA>", "#N/A", "null"])
def test_a_missing_label_is_no_class(missing, tmp_path):
    plant(tmp_path, {f"{n}.png": grey_png(n) for n in range(6)})
    rows = f"0.png,a,p1\n1.png,a,{missing}\n2.png,b,\n3.png,b,p2\n4.png,{missing},p3\n5.png,{missing},p3\n"
    table = tmp_path / "t.csv"
    table.write_text(f"path,label,group\n{rows}", encoding="utf-8")
    with pytest.raises(
        DataError, match=f"found 2 images of '{missing}', which stands for a missing"
    ) as caught:
        load(table)
    assert caught.value.details == ("4.png", "5.png")
    assert len(str(caught.value)) <= 300
    loaded = load(DataSource(table, {"unknown": [missing]})).manifest
    assert loaded.class_names == ("a", "b", "unknown")
    assert [sample.group for sample in loaded.samples][:3] == ["p1", "", ""]


def test_a_folder_that_a_script_made_of_missing_labels_is_no_class(tmp_path):
    plant(tmp_path, {f"{label}/{n}.png": grey_png(n) for label in ("a", "b", "nan") for n in range(2)})
    with pytest.raises(DataError, match="--class-map nan=nan"):
        load(tmp_path)
    assert load(DataSource(tmp_path, {"nan": ["nan"]})).manifest.class_names == ("a", "b", "nan")


def test_problems_come_back(tmp_path):
    plant(study(tmp_path), {"train/normal_left/empty.png": b""})
    loaded = load(tmp_path)
    assert len(loaded.problems) == 1
    assert "empty.png" in loaded.problems[0]


def test_a_file_that_cannot_be_hashed_is_a_problem(tmp_path, monkeypatch):
    study(tmp_path)
    plant(tmp_path, {"train/normal_left/closed.png": b"x"})
    opening = Path.open

    def denied(path, *args, **kwargs):
        if path.name == "closed.png":
            raise PermissionError(13, "Permission denied")
        return opening(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", denied)
    assert "Permission denied" in load(tmp_path).problems[0]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"a/1.png": b"x", "a/2.png": b"x"}, "two classes .* found 'a'"),
        ({"a/1.png": b"x", "a/2.png": b"x", "b/1.png": b"x"}, "2 images or more .* found 1 of 'b'"),
        ({"a/1.png": b"x", "a/2.png": b"x", "b/.keep": b""}, "found 0 of 'b'"),
        ({"a/.keep": b"", "b/.keep": b""}, "expected images in class folders"),
        (
            {f"{s}/{c}/{n}.png": b"x" for s in ("train",) for c in "ab" for n in "12"}
            | {"val/a/1.png": b"x"},
            "nothing here for 'b'",
        ),
    ],
)
def test_data_that_nothing_can_be_learned_from(files, reason, tmp_path):
    with pytest.raises(DataError, match=reason) as caught:
        load(plant(tmp_path, files))
    assert len(str(caught.value)) <= 300


def test_too_few_images_come_with_the_files_that_were_lost(tmp_path):
    plant(tmp_path, {"a/1.png": b"x", "a/2.png": b"x", "b/1.png": b"x", "b/empty.png": b""})
    with pytest.raises(DataError, match="found 1 of 'b'") as caught:
        load(tmp_path)
    assert "empty.png" in caught.value.details[0]


def test_one_image_of_a_class_is_enough_to_test_on():
    require_usable(Manifest.of([sample("a", "test", "x"), sample("b", "test", "y")]), "data")


def test_a_table_without_rows_is_said_to_have_none(tmp_path):
    table = tmp_path / "header.csv"
    table.write_text("path,label\n", encoding="utf-8")
    with pytest.raises(DataError, match="found no row"):
        load(table)


def table(folder, text: str | bytes, files=("i/1.png", "i/2.png")):
    plant(folder, dict.fromkeys(files, b"x"))
    path = folder / "data.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_columns_may_come_in_any_order_and_case(tmp_path):
    path = table(tmp_path, "\ufeffLabel, Split ,age,path,group\na,VAL,61,i/1.png,p1\nb,,62,./i/2.png,\n\n")
    found = list_csv(path)
    assert [(e.id, e.split, e.folder, e.group) for e in found.entries] == [
        ("i/1.png", "valid", "a", "p1"),
        ("i/2.png", "", "b", ""),
    ]
    assert found.entries[1].path == tmp_path / "i" / "2.png"
    assert found.folders == {"valid": ("a",), "": ("b",)}
    assert found.problems == ()


def test_files_may_lie_elsewhere(tmp_path):
    plant(tmp_path, {"images/1.png": b"x"})
    path = table(tmp_path / "tables", f"path,label\n../images/1.png,a\n{tmp_path}/tables/i/2.png,b\n")
    assert [entry.id for entry in list_csv(path).entries] == ["../images/1.png", "i/2.png"]


def test_missing_files_are_problems(tmp_path):
    found = list_csv(table(tmp_path, "path,label\ni/1.png,a\ni/gone.png,a\ni,b\n"))
    assert [entry.id for entry in found.entries] == ["i/1.png"]
    assert "gone.png" in found.problems[0]
    assert "found a folder" in found.problems[1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected the columns path, label"),
        ("1.png;a\n", "'1.png, a'; the first line must name the columns"),
        ("path,label,path\n1,a,2\n", "each once"),
        ("path,label\ni/1.png\n", "found 1 in line 2"),
        ("path,label\ni/1.png,\n", "line 2 of .* found an empty one"),
        ("path,label,split\ni/1.png,a,dev\n", "found 'dev'"),
        ("path,label\ni/1.png,a\n./i/1.png,b\n", "the first i/1.png"),
        ('path,label\n"i/1.png,a\n', "found a fault in line 2"),
        (b"PK\x03\x04\xff\xfe", "workbook or an archive"),
    ],
)
def test_tables_that_do_not_fit(text, reason, tmp_path):
    with pytest.raises(DataError, match=reason) as caught:
        list_csv(table(tmp_path, text))
    assert len(str(caught.value)) <= 300


def test_a_table_that_cannot_be_opened(tmp_path, monkeypatch):
    path = table(tmp_path, "path,label\n")

    def denied(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", denied)
    with pytest.raises(DataError, match="Permission denied"):
        list_csv(path)


@pytest.mark.parametrize(
    "content",
    [
        "sep=;\r\nDateiname;Filename;Class\r\n1;i\\1.png;bösartig\r\n2;i\\2.png;normal\r\n".encode("cp1252"),
        "\ufeffimage\t\ufeffcategory\ni/1.png\tbösartig\n\u202ai/2.png\t normal \n\n".encode("utf-16"),
        'file_name,label,,\r\n"i/1.png",bösartig,,\r\ni/2.png,normal,,\r\n,,,\r\n'.encode("utf-8-sig"),
    ],
)
def test_tables_of_spreadsheets_and_of_windows_are_read(content, tmp_path):
    entries = list_csv(table(tmp_path, content)).entries
    assert [(entry.id, entry.folder) for entry in entries] == [("i/1.png", "bösartig"), ("i/2.png", "normal")]
    assert all(entry.path.is_file() for entry in entries)


def test_a_table_whose_files_are_all_elsewhere_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"none of the 2, .*C:/scans/1.png.*relative to the folder"):
        list_csv(table(tmp_path, "path,label\nC:\\scans\\1.png,a\nC:\\scans\\2.png,b\n"))


def test_a_run_records_paths_below_a_folder_whose_name_is_not_utf8():
    folder = Path(os.fsdecode(b"/data/caf\xe9 %41"))
    manifest = replace(SMALL, samples=tuple(replace(s, path=folder / s.path.name) for s in SMALL.samples))
    text = write_csv(manifest)
    assert "file:///data/caf%E9%20%2541/" in text.encode().decode()
    assert read_csv(text, "manifest.csv") == manifest
