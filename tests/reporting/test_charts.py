import csv
import io
from xml.etree import ElementTree

import matplotlib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tumorboard.reporting.charts import Chart, Line, to_csv, to_png
from tumorboard.reporting.svg import alone, figure, ticks

CHART = Chart(
    "a <b> & 'c'",
    "x",
    "y",
    [Line("_first", [0.0, 1.0], [0.25, 0.5], [0.2, 0.4], [0.3, 0.6], points=True), Line("", [0, 1], [0, 1])],
)


def test_the_table_holds_every_point() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(CHART))))
    assert [(row["line"], float(row["x"]), float(row["y"]), row["low"]) for row in rows] == [
        ("_first", 0.0, 0.25, "0.2"),
        ("_first", 1.0, 0.5, "0.4"),
        ("", 0.0, 0.0, ""),
        ("", 1.0, 1.0, ""),
    ]


def test_a_cell_that_a_spreadsheet_would_run_is_neutralised() -> None:
    assert "'=cmd()" in to_csv(Chart("t", "x", "y", [Line("=cmd()", [0], [0])]))


def test_the_picture_does_not_depend_on_a_matplotlibrc() -> None:
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 30, "text.usetex": True}):
        changed = to_png(CHART)
    assert changed == to_png(CHART)


def test_the_drawing_is_well_formed_and_says_what_it_shows() -> None:
    root = ElementTree.fromstring(alone(CHART).encode())  # noqa: S314  of our own making
    assert root.attrib["aria-label"].startswith("a <b> & 'c': y over x; lines: _first")
    assert len(root.findall("{*}circle")) == 2


def test_a_point_lies_where_its_numbers_say() -> None:
    root = ElementTree.fromstring(alone(CHART).encode())  # noqa: S314
    left, right = root.findall("{*}circle")
    assert float(left.attrib["cx"]) < float(right.attrib["cx"])
    assert float(left.attrib["cy"]) > float(right.attrib["cy"])  # downwards in SVG


def test_the_legend_lists_named_lines_only() -> None:
    assert figure(CHART).count("<li>") == 1


def test_the_picture_is_a_png() -> None:
    with Image.open(io.BytesIO(to_png(CHART))) as image:
        assert image.format == "PNG"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (1, 25, [5, 10, 15, 20, 25]),
        (1, 10, [2, 4, 6, 8, 10]),
        (0.0, 2.37, [0, 0.5, 1, 1.5, 2]),
        (1, 1, [1]),
        (1, 2, [1, 1.2, 1.4, 1.6, 1.8, 2]),
    ],
)
def test_axes_are_marked_at_round_numbers(low, high, expected) -> None:
    assert ticks(low, high) == pytest.approx(expected)


@settings(max_examples=200)
@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_every_axis_has_a_few_marks_within_its_range(low, length) -> None:
    found = ticks(low, low + length)
    assert 2 <= len(found) <= 7
    assert all(low - length / 1e3 <= one <= low + length * 1.001 for one in found)
