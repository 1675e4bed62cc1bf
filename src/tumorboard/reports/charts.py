"""Charts as data, and their three forms: SVG, PNG and CSV."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tumorboard import NOTICE
from tumorboard.evaluation.intervals import Estimate
from tumorboard.predictions import neutralised

COLORS = ("#0072B2", "#C04A00", "#00775A", "#A8457F", "#7A6A00", "#4B4B9B")
"""Okabe and Ito's colors, darkened to a contrast of 4.5 on white."""
DASHES = ((), (6, 3), (2, 2), (8, 3, 2, 3), (1, 3), (10, 4))

_WIDTH, _HEIGHT = 264, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 250, 8, 196
_NAME_WIDTH, _ROW, _SUBROW, _CELL = 110, 24, 12, 42
_STYLE = "text{fill:#222;font:12px sans-serif}.axis,.guide{stroke:#767676}.heat{fill:#0072B2}" + "".join(
    f".c{n}{{stroke:{color}}}circle.c{n}{{fill:{color}}}" for n, color in enumerate(COLORS)
)


@dataclass(frozen=True)
class Line:
    """Points joined by a line; `low` and `high`, if given, are error bars.

    A line without a name is a guide: thin, grey and not in the legend.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    points: bool = False


@dataclass(frozen=True)
class LineChart:
    """Lines over a common axis; ranges are (lowest, highest) of each axis."""

    name: str
    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    x_range: tuple[float, float] = (0.0, 1.0)
    y_range: tuple[float, float] = (0.0, 1.0)
    note: str = ""

    @property
    def legend(self) -> list[Line]:
        """The lines that are no guides; their places are the numbers of their colors."""
        return [line for line in self.lines if line.name]

    @property
    def description(self) -> str:
        """What the chart shows, for those who cannot see it."""
        lines = ", ".join(line.name for line in self.legend)
        return f"{self.title}: {self.y_label} over {self.x_label}; lines: {lines}. {self.note}".strip()

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield the data as a table."""
        yield "line", self.x_label, self.y_label, "low", "high"
        for line in self.lines:
            low, high = (list(map(str, bar)) or [""] * len(line.x) for bar in (line.low, line.high))
            for x, y, *limits in zip(line.x, line.y, low, high, strict=True):
                yield neutralised(line.name), x, y, *limits

    def draw(self, svg: ElementTree.Element) -> tuple[int, int]:
        """Draw into an <svg>; return its width and height."""

        def x_of(value: float) -> float:
            low, high = self.x_range
            return _LEFT + (_RIGHT - _LEFT) * (value - low) / ((high - low) or 1.0)

        def y_of(value: float) -> float:
            low, high = self.y_range
            return _BOTTOM - (_BOTTOM - _TOP) * (value - low) / ((high - low) or 1.0)

        def path(line: Line) -> str:
            points = (f"{x_of(x):.1f} {y_of(y):.1f}" for x, y in zip(line.x, line.y, strict=True))
            return "M" + "L".join(points)

        _add(svg, "path", d=f"M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}", class_="axis", fill="none")
        for x in ticks(*self.x_range):
            _add_text(svg, f"{x:.3g}", x_of(x), _BOTTOM + 15)
        for y in ticks(*self.y_range):
            _add_text(svg, f"{y:.3g}", _LEFT - 5, y_of(y) + 4, "end")
        _add_text(svg, self.x_label, (_LEFT + _RIGHT) / 2, _HEIGHT - 8)
        middle = (_TOP + _BOTTOM) / 2
        _add_text(svg, self.y_label, 12, middle, transform=f"rotate(-90 12 {middle})")
        for guide in (line for line in self.lines if not line.name):
            _add(svg, "path", d=path(guide), class_="guide", fill="none", stroke_width="1")
        for number, line in enumerate(self.legend):
            color = f"c{number % 6}"
            bars = zip(line.x, line.low, line.high, strict=False)
            error_bars = "".join(f"M{x_of(x):.1f} {y_of(low):.1f}V{y_of(high):.1f}" for x, low, high in bars)
            if error_bars:
                _add(svg, "path", d=error_bars, class_=color, stroke_width="1.5")
            _add(svg, "path", d=path(line), **_stroke(number))
            if line.points or len(line.x) == 1:
                for x, y in zip(line.x, line.y, strict=True):
                    _add(svg, "circle", cx=f"{x_of(x):.1f}", cy=f"{y_of(y):.1f}", r="3", class_=color)
        return _WIDTH, _HEIGHT

    def plot(self, panel: Axes) -> None:
        """Plot with matplotlib."""
        panel.set(xlim=_padded(self.x_range), ylim=_padded(self.y_range))
        panel.set_xlabel(self.x_label)
        panel.set_ylabel(self.y_label)
        for number, line in enumerate(self.legend):
            color, marker = COLORS[number % 6], "o" if line.points or len(line.x) == 1 else ""
            # A leading space: matplotlib hides names that begin with _.
            (drawn,) = panel.plot(line.x, line.y, color=color, label=f" {line.name}", marker=marker)
            drawn.set_dashes(DASHES[number % 6])
            if line.low:
                panel.vlines(line.x, line.low, line.high, color=color)
        for guide in (line for line in self.lines if not line.name):
            panel.plot(guide.x, guide.y, color="0.5", linewidth=0.8)
        if self.legend:
            for label in panel.legend(fontsize="small").get_texts():
                label.set_parse_math(False)


@dataclass(frozen=True)
class MatrixChart:
    """A confusion matrix: counts of images, rows the true classes, columns the predicted ones."""

    name: str
    title: str
    class_names: Sequence[str]
    counts: Sequence[Sequence[int]]

    @property
    def description(self) -> str:
        """Every count in words."""
        rows = (
            f"true {true}: {', '.join(f'{n} {name}' for n, name in zip(row, self.class_names, strict=True))}"
            for true, row in zip(self.class_names, self.counts, strict=True)
        )
        return f"{self.title}, counts of predicted classes. {'; '.join(rows)}."

    @property
    def shares(self) -> list[list[float]]:
        """Each count's share of its true class; 0 in a class without images."""
        return [[count / max(sum(row), 1) for count in row] for row in self.counts]

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield the data as a table."""
        names = [neutralised(name) for name in self.class_names]
        yield "true class", *names
        yield from ([name, *row] for name, row in zip(names, self.counts, strict=True))

    def draw(self, svg: ElementTree.Element) -> tuple[int, int]:
        """Draw into an <svg>, the stronger the color the larger the share; return width and height."""
        left, top, n = _NAME_WIDTH, 6, len(self.class_names)
        for row, (name, counts, shares) in enumerate(
            zip(self.class_names, self.counts, self.shares, strict=True)
        ):
            y = top + _ROW * row
            _add_text(svg, _short(name), left - 5, y + 16, "end")
            for column, (count, share) in enumerate(zip(counts, shares, strict=True)):
                place = {"x": str(left + _CELL * column), "y": str(y), "width": str(_CELL - 2)}
                _add(
                    svg, "rect", **place, height=str(_ROW - 2), class_="heat", fill_opacity=f"{share / 2:.2f}"
                )
                _add_text(svg, str(count), left + _CELL * column + _CELL / 2 - 1, y + 16)
        bottom = top + _ROW * n
        for column, name in enumerate(self.class_names):
            x, y = left + _CELL * column + _CELL / 2 + 4, bottom + 12
            _add_text(svg, _short(name), x, y, "end", transform=f"rotate(-35 {x} {y})")
        height = bottom + 92
        _add_text(svg, "predicted class (columns), true class (rows)", 4, height - 6, "start")
        return max(left + _CELL * n + 6, _WIDTH), height

    def plot(self, panel: Axes) -> None:
        """Plot with matplotlib."""
        shares = self.shares
        panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, counts in enumerate(self.counts):
            for column, count in enumerate(counts):
                ink = "white" if shares[row][column] > 0.5 else "black"
                panel.text(column, row, str(count), ha="center", va="center", color=ink)
        names = self.class_names
        panel.set_xticks(
            range(len(names)), names, rotation=45, ha="right", fontsize="small", parse_math=False
        )
        panel.set_yticks(range(len(names)), names, fontsize="small", parse_math=False)
        panel.set_xlabel("predicted class")
        panel.set_ylabel("true class")


@dataclass(frozen=True)
class IntervalChart:
    """Estimates between 0 and 1 with their intervals, a row each, on one scale.

    Attributes:
        name: Of the chart's files.
        title: What stands above it.
        x_label: What is estimated.
        estimates: By row.
        subsets: By title of a part of the images, the same rows estimated on that part alone.
    """

    name: str
    title: str
    x_label: str
    estimates: Mapping[str, Estimate]
    subsets: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)

    @property
    def legend(self) -> list[Line]:
        """A line for all images and one per subset, if there are any."""
        return [Line(title, (), ()) for title in ("all images", *self.subsets)] if self.subsets else []

    @property
    def description(self) -> str:
        """Which rows there are; their numbers stand in a table."""
        parts = f" on {', '.join(line.name for line in self.legend)}" if self.subsets else ""
        return f"{self.title}: {self.x_label} with 95% CI of {', '.join(self.estimates)}{parts}."

    def rows(self) -> Iterator[Sequence[object]]:
        """Yield the data as a table."""
        yield "name", self.x_label, "low", "high", "n"
        for title, estimates in (("", self.estimates), *self.subsets.items()):
            for name, estimate in estimates.items():
                shown = f"{name}, {title}" if title else name
                yield neutralised(shown), estimate.value, estimate.low, estimate.high, estimate.n

    def draw(self, svg: ElementTree.Element) -> tuple[int, int]:
        """Draw into an <svg>; return its width and height."""
        left, width = 130, 440

        def x_of(value: float) -> float:
            return left + (width - left - 12) * value

        series = (self.estimates, *self.subsets.values())
        height = (_SUBROW + 8 if self.subsets else _ROW) + _SUBROW * len(self.subsets)
        bottom = 6 + height * len(self.estimates)
        _add(svg, "path", d=f"M{left} {bottom}H{width - 12}", class_="axis")
        for x in ticks(0.0, 1.0):
            _add_text(svg, f"{x:.3g}", x_of(x), bottom + 15)
        _add_text(svg, self.x_label, x_of(0.5), bottom + 32)
        for row, name in enumerate(self.estimates):
            top = 6 + height * row
            _add_text(svg, _short(name, 20), left - 6, top + height / 2 + 2, "end")
            for number, estimate in enumerate(estimates[name] for estimates in series):
                y, color = top + 10 + _SUBROW * number, f"c{number % 6}"
                if estimate.value is not None:
                    if estimate.low is not None and estimate.high is not None:
                        bar = f"M{x_of(estimate.low):.1f} {y}H{x_of(estimate.high):.1f}"
                        _add(svg, "path", d=bar, **_stroke(number) | {"stroke_width": "3"})
                    _add(svg, "circle", cx=f"{x_of(estimate.value):.1f}", cy=str(y), r="5", class_=color)
        return width, bottom + 40

    def plot(self, panel: Axes) -> None:
        """Plot with matplotlib."""
        for number, estimates in enumerate((self.estimates, *self.subsets.values())):
            color = COLORS[number % 6]
            for row, name in enumerate(self.estimates):
                estimate, y = estimates[name], row + number / 4
                if estimate.value is not None:
                    panel.plot([estimate.value], [y], "o", color=color)
                    if estimate.low is not None and estimate.high is not None:
                        panel.hlines(y, estimate.low, estimate.high, color=color)
        if self.subsets:
            handles = [
                Line2D([], [], color=COLORS[n % 6], label=f" {line.name}")
                for n, line in enumerate(self.legend)
            ]
            for label in panel.legend(handles=handles, fontsize="small", loc="lower left").get_texts():
                label.set_parse_math(False)
        panel.set(xlim=(-0.02, 1.02), ylim=(len(self.estimates) - 0.5, -0.5))
        panel.set_yticks(range(len(self.estimates)), list(self.estimates), fontsize="small", parse_math=False)
        panel.set_xlabel(self.x_label)


Chart = LineChart | MatrixChart | IntervalChart


def to_csv(chart: Chart) -> str:
    """Return the chart's data as CSV."""
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerows(chart.rows())
    return file.getvalue()


def to_svg(chart: Chart, standalone: bool = False) -> str:
    """Return the chart as <svg> with real text, colored by classes that a page's style sheet defines.

    Args:
        chart: The chart.
        standalone: Whether to make a whole file, with its own colors.
    """
    svg = ElementTree.Element("svg", {"role": "img", "aria-label": _xml_text(chart.description)})
    if standalone:
        svg.set("xmlns", "http://www.w3.org/2000/svg")
        svg.append(ElementTree.Comment(NOTICE))
        ElementTree.SubElement(svg, "style").text = _STYLE
    width, height = chart.draw(svg)
    svg.set("viewBox", f"0 0 {width} {height}")
    text = ElementTree.tostring(svg, encoding="unicode", short_empty_elements=standalone)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n' if standalone else text


def legend_sample(number: int) -> str:
    """Return a short line as it stands in a chart's legend, as <svg>."""
    svg = ElementTree.Element("svg", {"viewBox": "0 0 28 10", "aria-hidden": "true"})
    _add(svg, "path", d="M0 5H28", **_stroke(number))
    return ElementTree.tostring(svg, encoding="unicode", short_empty_elements=False)


def ticks(low: float, high: float) -> list[float]:
    """Return three to seven multiples of 1, 2 or 5 times a power of ten in a range; of no range its value."""
    if high <= low:
        return [low]
    power = 10 ** math.floor(math.log10((high - low) / 5))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= (high - low) / 5.5)
    return [step * n for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _add(parent: ElementTree.Element, tag: str, **attributes: str) -> ElementTree.Element:
    """Add an element; attribute names lose a trailing underscore, others become hyphens."""
    named = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    return ElementTree.SubElement(parent, tag, named)


def _add_text(
    svg: ElementTree.Element, content: str, x: float, y: float, anchor: str = "middle", **attributes: str
) -> None:
    _add(svg, "text", x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, **attributes).text = _xml_text(content)


def _stroke(number: int) -> dict[str, str]:
    dashes = " ".join(map(str, DASHES[number % 6]))
    look = {"class_": f"c{number % 6}", "fill": "none", "stroke_width": "2"}
    return look | ({"stroke_dasharray": dashes} if dashes else {})


def _short(name: str, limit: int = 15) -> str:
    return name if len(name) <= limit else f"{name[: limit - 1]}\u2026"


def _xml_text(text: str) -> str:
    """Return text without characters that XML forbids or that turn the direction of writing."""
    return "".join(c if c.isprintable() else " " for c in text)


@style.context("default")  # whatever a `matplotlibrc` in the working directory sets
def to_png(chart: Chart) -> bytes:
    """Return the chart on white at 150 dots per inch; equal charts give equal bytes."""
    figure = Figure(figsize=(4.2, 3.8), layout="constrained")
    panel = figure.subplots()
    panel.set_title(chart.title, parse_math=False)
    chart.plot(panel)
    FigureCanvasAgg(figure)
    file = io.BytesIO()
    # Without the software's version, so that the bytes depend on the chart alone.
    figure.savefig(file, format="png", dpi=150, metadata={"Software": None, "Comment": NOTICE})
    return file.getvalue()


def _padded(limits: tuple[float, float]) -> tuple[float, float]:
    margin = 0.02 * (limits[1] - limits[0]) or 0.5  # of one epoch there is no range
    return limits[0] - margin, limits[1] + margin
