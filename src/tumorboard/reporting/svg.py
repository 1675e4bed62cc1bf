"""Charts as SVG: real text, coloured by classes that the page's style sheet sets for light and dark."""

import math
from collections.abc import Iterator

from tumorboard.reporting.charts import DASHES, LIGHT, Chart, Line, named
from tumorboard.reporting.html import Html, element, join

_WIDTH, _HEIGHT = 264, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 250, 8, 196
_ALONE = "text{fill:#222;font:12px sans-serif}.axis,.guide{stroke:#767676}" + "".join(
    f".c{n}{{stroke:{colour}}}circle.c{n}{{fill:{colour}}}" for n, colour in enumerate(LIGHT)
)


def figure(chart: Chart) -> Html:
    """The chart with its title and its legend, for a page."""
    legend = element("ul", *(_entry(number, line) for number, line in named(chart)), class_="legend")
    title = element("figcaption", chart.title)
    return element("figure", title, drawing(chart), legend)


def alone(chart: Chart) -> str:
    """The chart as a file of its own, on no background, its legend in the description."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{drawing(chart, element("style", Html(_ALONE)))}\n'


def drawing(chart: Chart, style: str = "") -> Html:
    """The bare <svg>."""
    lines = ", ".join(line.name for _, line in named(chart))
    label = f"{chart.title}: {chart.y_label} over {chart.x_label}; lines: {lines}. {chart.summary}"
    marks = [mark for number, line in named(chart) for mark in _line(chart, number, line)]
    guides = [_path(chart, line, "guide", "") for line in chart.lines if not line.name]
    box = f"0 0 {_WIDTH} {_HEIGHT}"
    parts = (style, *_axes(chart), *guides, *marks)
    return element(
        "svg", *parts, xmlns="http://www.w3.org/2000/svg", viewBox=box, role="img", aria_label=label.strip()
    )


def _entry(number: int, line: Line) -> Html:
    stroke = _stroke(number)
    sample = element("line", x1="0", y1="5", x2="28", y2="5", **stroke)
    return element("li", element("svg", sample, viewBox="0 0 28 10", aria_hidden="true"), f" {line.name}")


def _stroke(number: int) -> dict[str, str]:
    look = {"class_": f"c{number % 6}", "fill": "none", "stroke_width": "2"}
    return look | ({"stroke_dasharray": DASHES[number % 6]} if DASHES[number % 6] else {})


def _axes(chart: Chart) -> Iterator[Html]:
    frame = f"M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}"
    yield element("path", d=frame, class_="axis", fill="none")
    for x in ticks(*chart.x_range):
        yield _text(f"{x:.3g}", _x(chart, x), _BOTTOM + 15, "middle")
    for y in ticks(*chart.y_range):
        yield _text(f"{y:.3g}", _LEFT - 5, _y(chart, y) + 4, "end")
    yield _text(chart.x_label, (_LEFT + _RIGHT) / 2, _HEIGHT - 8, "middle")
    turn = f"rotate(-90 12 {(_TOP + _BOTTOM) / 2})"
    yield element(
        "text", chart.y_label, x="12", y=f"{(_TOP + _BOTTOM) / 2}", text_anchor="middle", transform=turn
    )


def ticks(low: float, high: float) -> list[float]:
    """Three to seven multiples of 1, 2 or 5 times a power of ten within a range; its value if it is none."""
    if high <= low:
        return [low]
    power = 10 ** math.floor(math.log10((high - low) / 5))
    step = next(power * one for one in (1, 2, 5, 10) if power * one >= (high - low) / 5.5)
    return [step * n for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _text(content: str, x: float, y: float, anchor: str) -> Html:
    return element("text", content, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _line(chart: Chart, number: int, line: Line) -> Iterator[Html]:
    colour = f"c{number % 6}"
    for x, low, high in zip(line.x, line.low, line.high, strict=False):
        bar = f"M{_x(chart, x):.1f} {_y(chart, low):.1f}V{_y(chart, high):.1f}"
        yield element("path", d=bar, class_=colour, stroke_width="1.5")
    yield _path(chart, line, colour, DASHES[number % 6])
    if line.points or len(line.x) == 1:
        points = zip(line.x, line.y, strict=True)
        yield join(
            element("circle", cx=f"{_x(chart, x):.1f}", cy=f"{_y(chart, y):.1f}", r="3", class_=colour)
            for x, y in points
        )


def _path(chart: Chart, line: Line, kind: str, dash: str) -> Html:
    points = (f"{_x(chart, x):.1f} {_y(chart, y):.1f}" for x, y in zip(line.x, line.y, strict=True))
    look = {"stroke_dasharray": dash} if dash else {}
    width = "1" if kind == "guide" else "2"
    return element("path", d="M" + "L".join(points), class_=kind, fill="none", stroke_width=width, **look)


def _x(chart: Chart, value: float) -> float:
    low, high = chart.x_range
    return _LEFT + (_RIGHT - _LEFT) * (value - low) / ((high - low) or 1.0)


def _y(chart: Chart, value: float) -> float:
    low, high = chart.y_range
    return _BOTTOM - (_BOTTOM - _TOP) * (value - low) / ((high - low) or 1.0)
