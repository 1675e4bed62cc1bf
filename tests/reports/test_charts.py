import csv
import io
from xml.etree import ElementTree

import matplotlib as mpl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image
from rich.cells import cell_len

from tests.predictions_strategies import made, shuffled
from tests.reports.runs import run_results
from tumorboard.evaluation.intervals import Estimate
from tumorboard.reports import html, names, performance
from tumorboard.reports.charts import (
    IntervalChart,
    Line,
    LineChart,
    MatrixChart,
    ticks,
    to_csv,
    to_png,
    to_svg,
)
from tumorboard.reports.document import Document, Figures, Section

CHART = LineChart(
    "name",
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
    assert "'=cmd()" in to_csv(LineChart("n", "t", "x", "y", [Line("=cmd()", [0], [0])]))


def test_the_drawing_is_well_formed_and_says_what_it_shows() -> None:
    root = ElementTree.fromstring(to_svg(CHART, standalone=True).encode())  # noqa: S314  of our own making
    assert root.attrib["aria-label"].startswith("a <b> & 'c': y over x; lines: _first")
    assert len(root.findall("{*}circle")) == 2


def test_a_point_lies_where_its_numbers_say() -> None:
    root = ElementTree.fromstring(to_svg(CHART, standalone=True).encode())  # noqa: S314
    left, right = root.findall("{*}circle")
    assert float(left.attrib["cx"]) < float(right.attrib["cx"])
    assert float(left.attrib["cy"]) > float(right.attrib["cy"])  # downwards in SVG


def test_the_legend_lists_named_lines_only() -> None:
    document = Document("t", ["n"], [Section("s", [Figures([CHART])], "s")])
    assert html.render(document).count("</svg> _first</li>") == 1


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


MATRIX = MatrixChart("m", "a <b>", ("=a", "b|c", "d"), ((3, 1, 0), (0, 0, 0), (2, 2, 2)))
INTERVALS = IntervalChart(
    "i", "t", "accuracy", {"$\\frac{": Estimate(0.5, 4, 0.2, 0.8), "_^": Estimate(None, 0, 0, 1)}
)


@pytest.mark.parametrize("chart", [CHART, MATRIX, INTERVALS])
def test_every_chart_has_its_three_forms_and_they_depend_on_it_alone(chart) -> None:
    root = ElementTree.fromstring(to_svg(chart, standalone=True).encode())  # noqa: S314
    assert root.attrib["aria-label"] == chart.description
    assert to_csv(chart)
    first = to_png(chart)
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30, "text.usetex": True}):  # a matplotlibrc
        assert to_png(chart) == first
    assert b"Date" not in first
    assert mpl.__version__.encode() not in first


def test_subsets_stand_below_all_images_of_each_row() -> None:
    rows = {"a": Estimate(0.5, 4, 0.2, 0.8), "b": Estimate(0.75, 4, 0.3, 0.9)}
    chart = IntervalChart("i", "t", "accuracy", rows, {"part": {"b": rows["a"], "a": rows["b"]}})
    root = ElementTree.fromstring(to_svg(chart, standalone=True).encode())  # noqa: S314
    points = [(dot.attrib["class"], float(dot.attrib["cy"])) for dot in root.findall("{*}circle")]
    assert [color for color, _ in points] == ["c0", "c1", "c0", "c1"]
    assert [y for _, y in points] == sorted(y for _, y in points)
    assert [line.name for line in chart.legend] == ["all images", "part"]
    assert to_csv(chart).splitlines()[3] == '"b, part",0.5,0.2,0.8,4'
    assert to_png(chart)
    assert not INTERVALS.legend


def test_a_matrix_holds_every_count_and_shades_by_share() -> None:
    root = ElementTree.fromstring(to_svg(MATRIX, standalone=True).encode())  # noqa: S314
    texts = [element.text for element in root.findall("{*}text")]
    assert [text for text in texts if text.isdigit()] == ["3", "1", "0", "0", "0", "0", "2", "2", "2"]
    shades = [float(rect.attrib["fill-opacity"]) for rect in root.findall("{*}rect")]
    assert shades[:4] == [0.38, 0.12, 0, 0]  # half the share; a class without images leaves its row empty
    assert to_csv(MATRIX).splitlines()[:2] == ["true class,'=a,b|c,d", "'=a,3,1,0"]
    assert "true '=a" not in MATRIX.description
    assert "true =a: 3 =a, 1 b|c; true b|c: none; " in MATRIX.description
    assert "true d: 2 =a, 2 b|c, 2 d" in MATRIX.description


LONG = "adenocarcinoma_of_the_left_lower_lobe_with_visceral_pleural_invasion_and_lymph_node_metastases_stage_"
SCRIPTS = {
    "Chinese": "\u6b63\u5e38\u7ec4\u7ec7",
    "Japanese": "\u6241\u5e73\u4e0a\u76ae\u304c\u3093",
    "Korean": "\uc815\uc0c1",
    "Arabic": "\u0646\u0633\u064a\u062c",
    "Hebrew": "\u05e8\u05e7\u05de\u05d4",
    "Devanagari": "\u0938\u093e\u092e\u093e\u0928\u094d\u092f",
}


@pytest.mark.parametrize(
    "class_names",
    [
        *((name, name * 40, "normal") for name in SCRIPTS.values()),
        (f"{LONG}a", f"{LONG}b", "x" * 150),
        ("benign", "malignant"),
        tuple(f"{LONG}{i}" for i in range(60)),
    ],
    ids=[*SCRIPTS, "long", "two", "sixty"],
)
def test_names_of_every_script_and_length_are_drawn_without_a_warning(class_names) -> None:
    """Warnings are errors here: matplotlib warns of missing glyphs, and of a figure that has no room."""
    n = len(class_names)
    matrix = MatrixChart(
        "m", class_names[0], class_names, [[int(i == j) for j in range(n)] for i in range(n)]
    )
    lines = [Line(f"{name} (n = 3)", [0, 1], [0, 1]) for name in class_names[:12]]
    half = Estimate(0.5, 4, 0.2, 0.8)
    for chart in (
        matrix,
        LineChart("l", "t", "x", "y", lines),
        IntervalChart(
            "i",
            "t",
            "accuracy",
            dict.fromkeys(class_names[:12], half),
            {"p": dict.fromkeys(class_names[:12], half)},
        ),
    ):
        content = to_png(chart)
        assert to_png(chart) == content
        root = ElementTree.fromstring(to_svg(chart, standalone=True).encode())  # noqa: S314
        assert max(cell_len(element.text) for element in root.findall("{*}text")) <= 45
    drawn = [element for element in root.findall("{*}text") if element.find("{*}title") is not None]
    whole = {element.find("{*}title").text for element in drawn}
    assert whole == {name for name in class_names[:12] if cell_len(name) > 17}


def test_a_name_that_no_font_shows_is_numbered_and_the_figure_says_so(monkeypatch) -> None:
    shown = []
    monkeypatch.setattr(Figure, "supxlabel", lambda self, text, **_: shown.append(text))
    monkeypatch.setattr("tumorboard.reports.names._fonts", lambda: [])
    monkeypatch.setattr(
        "matplotlib.axes.Axes.set_yticks", lambda self, ticks, labels, **_: shown.append(labels)
    )
    names._further_fonts.cache_clear()
    to_png(MatrixChart("m", "t", ("normal", SCRIPTS["Chinese"]), ((1, 0), (0, 1))))
    assert shown == [
        ["normal", "2"],
        "No installed font shows some names: they are numbered, in the order of m.csv.",
    ]
    names._further_fonts.cache_clear()


def test_a_matrix_of_many_classes_is_wide_and_draws_what_is_not_zero() -> None:
    class_names = [f"c{i}" for i in range(20)]
    matrix = MatrixChart("m", "t", class_names, [[2 * (i == j) for j in range(20)] for i in range(20)])
    root = ElementTree.fromstring(to_svg(matrix, standalone=True).encode())  # noqa: S314
    assert len(root.findall("{*}rect")) == 20
    assert matrix.description.count("true") == 20
    page = html.render(Document("t", ["n"], [Section("s", [Figures([matrix])], "s")]))
    assert 'class="MatrixChart whole"' in page
    assert not MATRIX.wide


def history(epochs):
    return [
        {"epoch": e, "loss": 1 / e, "val_loss": 2 / e, "accuracy": 1 - 1 / e, "val_accuracy": 1 - 2 / (e + 2)}
        for e in range(1, epochs + 1)
    ]


def learning(rows, best=None) -> list[LineChart]:
    results = run_results(histories={"custom": rows}, best_epochs={"custom": best} if best else {})
    (figures,) = [
        block for block in performance.learning_curves(results).blocks if isinstance(block, Figures)
    ]
    return list(figures.charts)


def test_learning_curves_show_train_and_validation_and_the_kept_epoch() -> None:
    loss, accuracy = learning(history(5), best=3)
    assert [line.name for line in loss.lines] == ["train", "validation", ""]
    assert loss.lines[1].y == [row["val_loss"] for row in history(5)]
    assert accuracy.lines[2].x == [3, 3]
    assert to_png(loss) != to_png(learning(history(5), best=4)[0])
    assert learning(history(5))[0].note == ""


def test_a_single_epoch_is_seen() -> None:
    root = ElementTree.fromstring(to_svg(learning(history(1), best=1)[0], standalone=True))  # noqa: S314
    assert len(root.findall("{*}circle")) == 2


def test_losses_that_are_not_finite_are_left_out() -> None:
    bad = {"epoch": 4, "loss": float("nan"), "val_loss": float("inf"), "accuracy": 0.3, "val_accuracy": 0.3}
    loss, _ = learning([*history(3), bad])
    assert loss.lines[0].x == loss.lines[1].x == [1, 2, 3]
    assert to_png(loss)


def test_matrices_do_not_depend_on_the_order_of_rows_and_differ_when_a_prediction_does() -> None:
    def matrix(predictions):
        return performance._matrix("a", predictions, "test").counts

    one = made([True, False, True, True], [0, 1, 2, 0])
    assert matrix(one) == matrix(shuffled(one, [3, 1, 0, 2]))
    assert matrix(one) != matrix(made([True] * 4, [0, 1, 2, 0]))


def test_odd_names_are_drawn_as_they_are() -> None:
    odd = ("$\\frac{", "a|b", "<script>")
    assert to_png(MatrixChart("m", odd[0], odd, ((1, 0, 0),) * 3))
    assert to_png(LineChart("l", odd[0], "x", "y", [Line(name, [0, 1], [0, 1]) for name in odd]))
