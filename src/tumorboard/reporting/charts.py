"""A line chart as data, and its three forms: SVG, PNG and CSV."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tumorboard.predictions import neutralised

LIGHT = ("#0072B2", "#C04A00", "#00775A", "#A8457F", "#7A6A00", "#4B4B9B")
"""Okabe and Ito's colours, darkened to a contrast of 4.5 on white."""
_DASHES = ((), (6, 3), (2, 2), (8, 3, 2, 3), (1, 3), (10, 4))
DASHES = tuple(" ".join(map(str, dash)) for dash in _DASHES)


@dataclass(frozen=True)
class Line:
    """Points joined by a line; `low` and `high`, if given, are bars through the points.

    Lines without a name are not listed in the legend: they are thin and grey.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    points: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart of lines; ranges are (least, greatest) of each axis."""

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    x_range: tuple[float, float] = (0.0, 1.0)
    y_range: tuple[float, float] = (0.0, 1.0)
    summary: str = field(default="")


def named(chart: Chart) -> list[tuple[int, Line]]:
    """The lines of the legend, each with the number of its colour and dash."""
    return list(enumerate(line for line in chart.lines if line.name))


def to_csv(chart: Chart) -> str:
    """Every point: line, the x and y columns, and low and high where there are bars."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["line", chart.x_label, chart.y_label, "low", "high"])
    for line in chart.lines:
        bars = (list(map(str, bar)) or [""] * len(line.x) for bar in (line.low, line.high))
        for x, y, low, high in zip(line.x, line.y, *bars, strict=True):
            writer.writerow([neutralised(line.name), x, y, low, high])
    return file.getvalue()


@style.context("default")  # whatever a `matplotlibrc` in the working directory says
def to_png(chart: Chart) -> bytes:
    """The chart on white, 150 dots an inch."""
    figure = Figure(figsize=(4.2, 3.8))
    figure.subplots_adjust(left=0.15, right=0.97, bottom=0.13, top=0.92)
    panel = figure.subplots()
    panel.set(xlim=_padded(chart.x_range), ylim=_padded(chart.y_range))
    panel.set_title(chart.title, parse_math=False)
    panel.set_xlabel(chart.x_label)
    panel.set_ylabel(chart.y_label)
    for number, line in named(chart):
        colour, dashes = LIGHT[number % 6], _DASHES[number % 6]
        # A leading space: matplotlib hides names that begin with _.
        (drawn,) = panel.plot(line.x, line.y, color=colour, label=f" {line.name}", marker="o" * line.points)
        drawn.set_dashes(dashes)
        if line.low:
            panel.vlines(line.x, line.low, line.high, color=colour)
    for line in chart.lines:
        if not line.name:
            panel.plot(line.x, line.y, color="0.5", linewidth=0.8)
    for label in panel.legend(fontsize="small").get_texts():
        label.set_parse_math(False)
    FigureCanvasAgg(figure)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150, metadata={"Software": None})
    return file.getvalue()


def _padded(limits: tuple[float, float]) -> tuple[float, float]:
    margin = 0.02 * (limits[1] - limits[0]) or 0.5  # of one epoch there is no range
    return limits[0] - margin, limits[1] + margin
