import pytest

from tumorboard.data.manifest import read, read_rows
from tumorboard.errors import DataError

from .pictures import plant


def table(folder, text: str | bytes, files=("i/1.png", "i/2.png")):
    plant(folder, dict.fromkeys(files, b"x"))
    path = folder / "data.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_columns_may_come_in_any_order_and_case(tmp_path):
    path = table(tmp_path, "\ufeffLabel, Split ,age,path,group\na,VAL,61,i/1.png,p1\nb,,62,./i/2.png,\n\n")
    found = read(path)
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
    assert [entry.id for entry in read(path).entries] == ["../images/1.png", "i/2.png"]


def test_missing_files_are_problems(tmp_path):
    found = read(table(tmp_path, "path,label\ni/1.png,a\ni/gone.png,a\ni,b\n"))
    assert [entry.id for entry in found.entries] == ["i/1.png"]
    assert "gone.png" in found.problems[0]
    assert "found a folder" in found.problems[1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected the columns path, label"),
        ("path;label\n1;a\n", "'path;label'"),
        ("path,label,path\n1,a,2\n", "each once"),
        ("path,label\ni/1.png\n", "found 1 in row 2"),
        ("path,label\ni/1.png,\n", "row 2 of .* found an empty one"),
        ("path,label,split\ni/1.png,a,dev\n", "found 'dev'"),
        ("path,label\ni/1.png,a\n./i/1.png,b\n", "the first i/1.png"),
        ('path,label\n"i/1.png,a\n', "found a fault"),
        (b"PK\x03\x04\xff\xfe", "found other bytes"),
    ],
)
def test_tables_that_do_not_fit(text, reason, tmp_path):
    with pytest.raises(DataError, match=reason) as caught:
        read(table(tmp_path, text))
    assert len(str(caught.value)) <= 300


def test_a_table_that_cannot_be_opened(tmp_path, monkeypatch):
    path = table(tmp_path, "path,label\n")

    def denied(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "read_text", denied)
    with pytest.raises(DataError, match="Permission denied"):
        read(path)


def test_a_huge_file_is_no_table(tmp_path):
    path = table(tmp_path, "path,label\n")
    with path.open("r+b") as file:
        file.truncate(2 << 30)
    with pytest.raises(DataError, match="larger than 1 GiB"):
        read(path)


def test_rows_keep_quoted_commas():
    assert read_rows('a,b\n"x, y",2\n', "t.csv") == [["a", "b"], ["x, y", "2"]]
