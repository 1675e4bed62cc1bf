import csv
import io
from xml.etree import ElementTree

from PIL import Image

from tumorboard.reporting.charts import Chart, Line, to_csv, to_png
from tumorboard.reporting.svg import alone, figure

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
