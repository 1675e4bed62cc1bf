"""Tables, lists and recipes as spreadsheets, editors and Windows write them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorboard import text_files
from tumorboard.errors import DataError
from tumorboard.text_files import Row, decoded, located, number, paths, places, read_text, rows

EXPECTED = [Row(1, ["path", "label"]), Row(2, ["größe.png", "bösartig"]), Row(3, ["b c.png", "gut, klein"])]


def table(separator: str, end: str = "\r\n") -> str:
    quoted = '"gut, klein"' if separator == "," else "gut, klein"
    lines = [["path", "label"], ["größe.png", "bösartig"], ["b c.png", quoted]]
    return "".join(separator.join(cells) + end for cells in lines)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_every_encoding_and_separator_gives_the_same_rows(encoding, separator, tmp_path):
    file = tmp_path / "t.csv"
    file.write_bytes(table(separator).encode(encoding))
    assert list(rows(read_text(file), "t.csv")) == EXPECTED


def test_utf_16_is_read_in_both_byte_orders():
    assert (
        decoded("\ufeffpath".encode("utf-16-be"), "t")
        == decoded("\ufeffpath".encode("utf-16-le"), "t")
        == "path"
    )


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;", "sep=;;"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_line_sep_of_excel_names_the_separator(line, end):
    found = list(rows(f"\ufeff{line}{end}" + table(";", end), "t.csv"))
    assert [row.cells for row in found] == [row.cells for row in EXPECTED]
    assert [row.line for row in found] == [2, 3, 4]


@given(st.lists(st.lists(st.text(min_size=1, max_size=5), min_size=2, max_size=2), min_size=1, max_size=5))
def test_quoted_cells_come_back_whatever_is_in_them(cells):
    lines = [["path", "label"], *cells]
    text = "".join(";".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n" for row in lines)
    kept = [row for row in lines if any(map(str.strip, row))]
    assert [row.cells for row in rows(text, "t.csv")] == kept


def test_a_separator_inside_names_of_classes_is_not_taken_for_one():
    text = "id,label,predicted,probability:a|b|c|d,probability:e;f;g;h\nx,a|b|c|d,e;f;g;h,0.1,0.9\n"
    assert [len(row.cells) for row in rows(text, "t.csv")] == [5, 5]


def test_blank_rows_and_columns_of_a_spreadsheet_are_dropped():
    text = "path,label,,\na.png,x,,\n\n , ,,\nb.png,y,,\n,,,\n"
    assert list(rows(text, "t")) == [
        Row(1, ["path", "label"]),
        Row(2, ["a.png", "x"]),
        Row(5, ["b.png", "y"]),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("path,label\na,x\nb,y,z\n", "expected 2 columns in t.csv, found 3 in line 3"),
        ("path,label\na,x\n\nb\n", "expected 2 columns in t.csv, found 1 in line 4"),
        ('path,label\n"a\nb",x\nc\n', "found 1 in line 4"),
        ('path,label\na,x\n"b,y\nc,z\n', "line 3: a quotation mark that is not closed"),
        ('path,label\na,x\n"b"c,y\n', "line 3: ',' expected after"),
        ("path,label\na,x\n" + "b" * 200_000 + ",y\n", "line 3: field larger than field limit"),
    ],
)
def test_a_fault_is_one_line_that_says_where(text, reason):
    with pytest.raises(DataError) as caught:
        list(rows(text, "t.csv"))
    assert reason in str(caught.value)
    assert len(str(caught.value)) <= 300


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"path,label\na,x\nb\0,y\n", "found a NUL character in line 3"),
        (b"PK\x03\x04\xff\xfe", "a workbook or an archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "a workbook or an archive"),
        ("path,label\na,正常\n".encode("gb18030"), "iconv -f GB18030 -t UTF-8"),
        ("path,label\na,腫瘍\n".encode("cp932"), "iconv"),
        ("path,label\na,ノーマル\n".encode("cp932"), "iconv"),
        ("path,label\na,норма\n".encode("cp1251"), "iconv"),
        ("path,label\na,φυσιολογικό\n".encode("cp1253"), "iconv"),
        ("path,label\na,정상\n".encode("cp949"), "iconv"),
        (b"\xef\xbb\xbfpath,label\na,\xe9\n", "iconv"),
        (b"\x89PNG\r\n\x1a\n\xff\xd8", "found other bytes"),
    ],
)
def test_other_bytes_are_refused_with_what_helps(content, reason):
    with pytest.raises(DataError) as caught:
        decoded(content, "t.csv")
    assert reason in str(caught.value)
    assert len(str(caught.value)) <= 300


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: No such file"):
        read_text(tmp_path / "none.csv")
    huge = tmp_path / "huge.csv"
    with huge.open("wb") as file:
        file.truncate(2 << 30)
    with pytest.raises(DataError, match="larger than 1 GiB"):
        read_text(huge)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (["path", "label"], {"path": 0, "label": 1}),
        (["\ufeffFile Name", " Class "], {"path": 0, "label": 1}),
        (
            ["diagnosis", "image_path", "Patient-ID", "Subset"],
            {"path": 1, "label": 0, "group": 2, "split": 3},
        ),
        (["filename", "path", "class", "label"], {"path": 1, "label": 3}),
    ],
)
def test_columns_have_other_names_in_other_tables(header, expected):
    assert places(header, "t.csv", ["path", "label"], ["split", "group"]) == expected


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (["a.png", "normal"], "found 'a.png, normal'; the first line must name the columns"),
        (["path", "label", "PATH"], "found 'path'; rename or remove one"),
        (["file", "image", "label"], "found 'file and image'; rename or remove one"),
        (["path", "label", "age", "age"], "found 'age'"),
        (["path", "label", "patient", "subject"], "found 'patient and subject'"),
    ],
)
def test_columns_that_are_missing_or_ambiguous_are_refused(header, reason):
    with pytest.raises(DataError) as caught:
        places(header, "t.csv", ["path", "label"], ["split", "group"])
    assert reason in str(caught.value)


def test_a_list_is_a_table_with_paths_or_one_path_per_line(tmp_path):
    for text, lines in (
        ("a.png\r\n\r\n  sub\\b, c.png\r\n", True),
        ('\ufeff"a.png"\n"sub\\b, c.png"', True),
        ('filename;x\n\ufeffa.png;1\n"sub\\b, c.png";2\n', True),
        ('path\na.png\n"sub\\b, c.png"\n', False),
    ):
        assert list(paths(text, "list", tmp_path, lines)) == ["a.png", "sub\\b, c.png"]
    (tmp_path / "image").touch()  # a DICOM file may have no ending
    assert list(paths("image\na.png\n", "list", tmp_path, True)) == ["image", "a.png"]
    with pytest.raises(DataError, match="the first line must name the columns"):
        list(paths("a.png\nb.png\n", "list.csv", tmp_path, False))
    with pytest.raises(DataError, match="expected a path in line 3 of list"):
        list(paths("path,x\na,1\n,2\n", "list.csv", tmp_path, False))


def test_backslashes_of_windows_are_slashes_unless_a_file_is_called_so(tmp_path):
    (tmp_path / "odd\\name.png").touch()
    assert located(tmp_path, "sub\\b.png") == tmp_path / "sub" / "b.png"
    assert located(tmp_path, "odd\\name.png") == tmp_path / "odd\\name.png"


@pytest.mark.parametrize(
    ("cell", "value"), [("0,25", 0.25), (" 1,5e-3 ", 0.0015), (",5", 0.5), ("-0,5", -0.5), ("2.5", 2.5)]
)
def test_numbers_have_a_point_or_a_comma(cell, value):
    assert number(cell) == value


@pytest.mark.parametrize("cell", ["", "1,234.5", "1,2,3", "95 %"])
def test_what_is_no_number_is_refused(cell):
    with pytest.raises(ValueError, match="could not convert"):
        number(cell)


def test_no_other_file_reads_tables():
    source = Path(text_files.__file__).parent
    reading = [
        file.name
        for file in source.rglob("*.py")
        if any(name in file.read_text("utf-8") for name in ("csv.reader", "csv.DictReader", "read_csv(path"))
    ]
    assert reading == ["text_files.py"]
