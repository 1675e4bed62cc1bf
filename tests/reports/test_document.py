import pytest
from rich.cells import cell_len
from rich.console import Console

from tumorboard.evaluation.calibration import CalibrationError
from tumorboard.evaluation.intervals import Estimate
from tumorboard.evaluation.significance import Comparison
from tumorboard.reports import terminal
from tumorboard.reports.document import (
    BulletList,
    Document,
    Paragraph,
    Section,
    Table,
    cell_text,
    in_words,
)
from tumorboard.reports.names import printable

HALF = Estimate(0.5, 4, 0.15, 0.85)
NOTHING = Estimate(None, 0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("a", "a"),
        (3, "3"),
        (0.25, "0.250"),
        (None, "n/a"),
        (HALF, "0.500 (0.150-0.850), n = 4"),
        (NOTHING, "n/a, n = 0"),
        (Estimate(0.5, 4, None, None, "refused"), "0.500 (no interval), n = 4"),
        (Estimate(0.5, 4, 0.1, 0.9, "unreliable"), "0.500 (0.100-0.900)*, n = 4"),
        (CalibrationError(0.1, 9, 0.02, 0.2), "0.100 (0.020-0.200)"),
        (
            Comparison("a", "b", "auroc", 9, 0.1, -0.05, 0.2, "t", 0.5, 0.25),
            "+0.100 (-0.050 to +0.200), p = 0.25",
        ),
        (Comparison("a", "b", "auroc", 9, None, None, None, "t", None, None), "n/a"),
    ],
)
def test_a_cell_as_text(cell, text):
    assert cell_text(cell) == text


def test_an_estimate_in_a_sentence():
    assert in_words(HALF) == "0.500 (95% CI 0.150-0.850, n = 4)"
    assert in_words(NOTHING) == "n/a (n = 0)"


def test_n_stands_in_the_header_where_a_column_has_one():
    other = Estimate(0.5, 5, 0.2, 0.8, "unreliable")
    table = Table(["model", "x", "y"], [["a", HALF, HALF], ["b", HALF, other]], "caption")
    assert table.text_header == ["model", "x (n = 4)", "y"]
    assert table.text_rows[1] == ["b", "0.500 (0.150-0.850)", "0.500 (0.200-0.800)*, n = 5"]
    assert table.footnotes == ["unreliable"]


def test_n_stands_in_the_heading_of_a_row_that_has_one():
    other = Estimate(0.5, 5, 0.2, 0.8)
    table = Table(["class", "x", "y"], [["a", HALF, HALF], ["b", other, other]], "caption")
    assert table.text_header == ["class", "x", "y"]
    assert table.text_rows[1] == ["b (n = 5)", "0.500 (0.200-0.800)", "0.500 (0.200-0.800)"]
    mixed = Table(["class", "x", "y"], [["a", HALF, other], ["b", other, other]], "caption")
    assert mixed.text_rows == [
        ["a", "0.500 (0.150-0.850), n = 4", "0.500 (0.200-0.800)"],
        ["b", "0.500 (0.200-0.800), n = 5", "0.500 (0.200-0.800)"],
    ]


DOCUMENT = Document(
    "Title",
    ["Notice."],
    [
        Section("First", [Paragraph("text", "Lead:"), Section("Inner", [BulletList(["point"])])], "first"),
        Section("Second", [Table(["name", "n"], [["a\x1b[31m", 1]], "Counts")], "second"),
    ],
)


def test_a_terminal_shows_the_notice_the_title_and_every_section():
    everything = terminal.render(DOCUMENT)
    assert everything.startswith("Notice.\nTitle\nFirst\n  Lead: text\nInner\n  - point\nSecond\n")
    assert everything.index("Title") < everything.index("Counts")


def test_a_table_of_long_names_fits_the_terminal_and_breaks_no_number():
    name = f"left.{'x' * 70}"
    for header in (["model", "x", "y"], ["model", name, name]):
        lines = list(terminal.table(Table(header, [[name, HALF, HALF], ["b", HALF, HALF]], "")))
        assert max(map(len, lines)) <= terminal.WIDTH
        assert sum(line.count("0.500 (0.150-0.850)") for line in lines) == 4
    assert lines[-1].split() == ["b", "0.500", "(0.150-0.850)", "0.500", "(0.150-0.850)"]


def test_the_text_is_the_same_in_a_notebook(monkeypatch):
    text = terminal.render(DOCUMENT)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert terminal.render(DOCUMENT) == text
    assert Console().is_jupyter


def test_wide_characters_count_as_two_cells():
    lines = terminal.filled("Weakest class on test: " + "\u6b63" * 60 + ", recall 0.5.").splitlines()
    assert max(map(cell_len, lines)) <= terminal.WIDTH
    assert "".join(line.strip() for line in lines).count("\u6b63") == 60
    assert "\0" not in "".join(lines)


def test_no_name_can_steer_the_terminal():
    assert "\x1b" not in terminal.render(DOCUMENT)
    assert printable("left\u202eright") == "left right"
