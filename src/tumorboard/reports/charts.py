"""Charts as data, and their three forms: SVG, PNG and CSV."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from tumorboard import NOTICE
from tumorboard.evaluation.intervals import Estimate
from tumorboard.predictions import neutralised
from tumorboard.reports.names import font_families, png_labels, printable, shortened, without_glyphs

if TYPE_CHECKING:  # half a second to import
    from matplotlib.axes import Axes

COLORS = ("#0072B2", "#C04A00", "#00775A", "#A8457F", "#7A6A00", "#4B4B9B")
"""Okabe and Ito's colors, darkened to a contrast of 4.5 on white."""
DASHES = ((), (6, 3), (2, 2), (8, 3, 2, 3), (1, 3), (10, 4))

_WIDTH, _HEIGHT = 264, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 250, 8, 196
_NAME_WIDTH, _ROW, _SUBROW, _CELL = 114, 24, 12, 42
MANY_CLASSES = 12
"""A matrix of more has small cells, and names upright above its columns."""
_SMALL_CELL = 15
_STYLE = (
    "text{fill:#222;font:12px sans-serif;unicode-bidi:plaintext}.small{font-size:9px}"
    ".axis,.guide{stroke:#767676}.heat{fill:#0072B2}"
    + "".join(f".c{n}{{stroke:{color}}}circle.c{n}{{fill:{color}}}" for n, color in enumerate(COLORS))
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
    def names(self) -> list[str]:
        """Of the lines in the legend."""
        return [line.name for line in self.legend]

    @property
    def description(self) -> str:
        """What the chart shows, for those who cannot see it."""
        lines = ", ".join(self.names)
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

    def plot(self, panel: "Axes") -> None:
        """Plot with matplotlib."""
        panel.set(xlim=_padded(self.x_range), ylim=_padded(self.y_range))
        panel.set_xlabel(self.x_label)
        panel.set_ylabel(self.y_label)
        labels = png_labels(self.names, 30)
        for number, line in enumerate(self.legend):
            color, marker = COLORS[number % 6], "o" if line.points or len(line.x) == 1 else ""
            # A leading space: matplotlib hides names that begin with _.
            (drawn,) = panel.plot(line.x, line.y, color=color, label=f" {labels[number]}", marker=marker)
            drawn.set_dashes(DASHES[number % 6])
            if line.low:
                panel.vlines(line.x, line.low, line.high, color=color)
        for guide in (line for line in self.lines if not line.name):
            panel.plot(guide.x, guide.y, color="0.5", linewidth=0.8)
        if self.legend:
            for label in panel.legend(fontsize="small" if len(labels) <= 6 else "xx-small").get_texts():
                label.set_parse_math(False)


@dataclass(frozen=True)
class MatrixChart:
    """A confusion matrix: counts of images, rows the true classes, columns the predicted ones."""

    name: str
    title: str
    class_names: Sequence[str]
    counts: Sequence[Sequence[int]]

    @property
    def names(self) -> Sequence[str]:
        """Of the classes."""
        return self.class_names

    @property
    def wide(self) -> bool:
        """Whether it needs the whole width of a page."""
        return len(self.class_names) > MANY_CLASSES

    @property
    def description(self) -> str:
        """Every count in words, except zeros."""
        rows = (
            f"true {true}: "
            + (", ".join(f"{n} {name}" for n, name in zip(row, self.class_names, strict=True) if n) or "none")
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
        names, n = shortened(self.class_names, 20 if self.wide else 14), len(self.class_names)
        width, height = (_SMALL_CELL, _SMALL_CELL) if self.wide else (_CELL, _ROW)
        left, top = _NAME_WIDTH, 6
        bottom, size = top + height * n, {"class_": "small"} if self.wide else {}
        for row, (counts, shares) in enumerate(zip(self.counts, self.shares, strict=True)):
            y = top + height * row
            middle = y + height / 2 + 4
            _add_text(svg, names[row], left - 5, middle, "end", self.class_names[row], **size)
            for column, (count, share) in enumerate(zip(counts, shares, strict=True)):
                if count or not self.wide:
                    cell, opacity = left + width * column, f"{share / 2:.2f}"
                    place = {"x": str(cell), "y": str(y), "width": str(width - 2), "height": str(height - 2)}
                    _add(svg, "rect", **place, class_="heat", fill_opacity=opacity)
                    _add_text(svg, str(count), cell + width / 2 - 1, middle, **size)
        for column, name in enumerate(names):
            x, y = left + width * (column + 0.5) + 4, bottom + (4 if self.wide else 12)
            turn = f"rotate({-90 if self.wide else -35} {x} {y})"
            _add_text(svg, name, x, y, "end", self.class_names[column], transform=turn, **size)
        total = bottom + (112 if self.wide else 92)
        _add_text(svg, "predicted class (columns), true class (rows)", 4, total - 6, "start")
        return max(left + width * n + 6, _WIDTH), total

    def plot(self, panel: "Axes") -> None:
        """Plot with matplotlib."""
        shares, labels = self.shares, png_labels(self.class_names, 24)
        panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        size = "xx-small" if self.wide else "small"
        for row, counts in enumerate(self.counts):
            for column, count in enumerate(counts):
                ink = "white" if shares[row][column] > 0.5 else "black"
                if count or not self.wide:
                    drawn = panel.text(column, row, str(count), ha="center", va="center", color=ink)
                    drawn.set_fontsize(size if self.wide else "medium")
        turned = {"rotation": 90} if self.wide else {"rotation": 45, "ha": "right"}
        panel.set_xticks(range(len(labels)), labels, **turned, fontsize=size, parse_math=False)
        panel.set_yticks(range(len(labels)), labels, fontsize=size, parse_math=False)
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
    def names(self) -> list[str]:
        """Of the rows."""
        return list(self.estimates)

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
        names = shortened(self.names, 17)
        for row, name in enumerate(self.estimates):
            top = 6 + height * row
            _add_text(svg, names[row], left - 6, top + height / 2 + 2, "end", name)
            for number, estimate in enumerate(estimates[name] for estimates in series):
                y, color = top + 10 + _SUBROW * number, f"c{number % 6}"
                if estimate.value is not None:
                    if estimate.low is not None and estimate.high is not None:
                        bar = f"M{x_of(estimate.low):.1f} {y}H{x_of(estimate.high):.1f}"
                        _add(svg, "path", d=bar, **_stroke(number) | {"stroke_width": "3"})
                    _add(svg, "circle", cx=f"{x_of(estimate.value):.1f}", cy=str(y), r="5", class_=color)
        return width, bottom + 40

    def plot(self, panel: "Axes") -> None:
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
            from matplotlib.lines import Line2D

            handles = [
                Line2D([], [], color=COLORS[n % 6], label=f" {line.name}")
                for n, line in enumerate(self.legend)
            ]
            for label in panel.legend(handles=handles, fontsize="small", loc="lower left").get_texts():
                label.set_parse_math(False)
        panel.set(xlim=(-0.02, 1.02), ylim=(len(self.estimates) - 0.5, -0.5))
        labels = png_labels(self.names, 30)
        panel.set_yticks(range(len(labels)), labels, fontsize="small", parse_math=False)
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
    svg = ElementTree.Element("svg", {"role": "img", "aria-label": printable(chart.description)})
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
    svg: ElementTree.Element,
    content: str,
    x: float,
    y: float,
    anchor: str = "middle",
    whole: str = "",
    **attributes: str,
) -> None:
    """Add text; `whole` is what it was before it was shortened, and is shown when the mouse is over it."""
    text = _add(svg, "text", x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, **attributes)
    text.text = printable(content)
    if whole and printable(whole) != text.text:
        _add(text, "title").text = printable(whole)


def _stroke(number: int) -> dict[str, str]:
    dashes = " ".join(map(str, DASHES[number % 6]))
    look = {"class_": f"c{number % 6}", "fill": "none", "stroke_width": "2"}
    return look | ({"stroke_dasharray": dashes} if dashes else {})


def to_png(chart: Chart) -> bytes:
    """Return the chart on white at 150 dots per inch; equal charts give equal bytes."""
    import matplotlib as mpl
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style.context("default"):  # whatever a `matplotlibrc` in the working directory sets
        rows = len(chart.names)
        inches = max(4.2, 1.8 + 0.16 * rows) if isinstance(chart, MatrixChart) else 4.2
        title = " ".join(shortened([chart.title], 50))
        with mpl.rc_context({"font.family": font_families("".join([title, *chart.names]))}):
            figure = Figure(figsize=(inches, inches - 0.4), layout="constrained")
            panel = figure.subplots()
            panel.set_title("".join("?" if without_glyphs(c) else c for c in title), parse_math=False)
            chart.plot(panel)
            if any(map(without_glyphs, chart.names)):
                order = f"they are numbered, in the order of {chart.name}.csv"
                note = f"No installed font shows some names: {order}."
                figure.supxlabel(note, fontsize="xx-small", parse_math=False)
        FigureCanvasAgg(figure)
        file = io.BytesIO()
        # Without the software's version, so that the bytes depend on the chart alone.
        figure.savefig(file, format="png", dpi=150, metadata={"Software": None, "Comment": NOTICE})
        return file.getvalue()


def _padded(limits: tuple[float, float]) -> tuple[float, float]:
    margin = 0.02 * (limits[1] - limits[0]) or 0.5  # of one epoch there is no range
    return limits[0] - margin, limits[1] + margin
