"""A report as data: its sections, tables and charts, whatever it is rendered as."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tumorboard.evaluation.calibration import CalibrationError
from tumorboard.evaluation.intervals import Estimate
from tumorboard.evaluation.significance import Comparison
from tumorboard.reports.charts import Chart

UNDEFINED = "n/a"
VISIBLE_CARDS = 3

Cell = str | int | float | Estimate | Comparison | CalibrationError | None
"""A comparison is shown as the difference of two models, a calibration error with its null band."""


@dataclass(frozen=True)
class Paragraph:
    """A paragraph or the item of a list; `lead` stands before the text in bold."""

    text: str
    lead: str = ""


@dataclass(frozen=True)
class BulletList:
    """A list of points."""

    items: Sequence[Paragraph | str]


@dataclass(frozen=True)
class Code:
    """Lines shown as they are."""

    text: str


@dataclass(frozen=True)
class Figures:
    """Charts side by side."""

    charts: Sequence[Chart]


@dataclass(frozen=True)
class CaptionedImage:
    """A small JPEG with its caption; of a heat map also the name of its model."""

    caption: str
    jpeg: bytes
    model: str = ""


@dataclass(frozen=True)
class Card:
    """An example image: what it is, its images, and what each model predicts.

    Attributes:
        title: What it is.
        images: By model its heat map, and by "" the image itself.
        predictions: By model the predicted class and its probability.
        wrong: The models whose prediction is wrong.
        image_id: The image's id.
    """

    title: str
    images: Mapping[str, CaptionedImage]
    predictions: Mapping[str, str]
    wrong: Collection[str]
    image_id: str

    @property
    def lines(self) -> list[str]:
        """The predictions, a line each, and whether the image is missing."""
        lines = [f"{name}: {text}" for name, text in self.predictions.items()]
        return lines if self.images else [*lines, "The file is no longer where it was."]


@dataclass(frozen=True)
class Cards:
    """Example images, a row each; HTML shows the first `VISIBLE_CARDS` and folds the others."""

    cards: Sequence[Card]


@dataclass(frozen=True)
class Samples:
    """A few images of each class, or of some of all `classes`; only HTML shows them."""

    images: Mapping[str, Sequence[CaptionedImage]]
    classes: int


@dataclass(frozen=True)
class Table:
    """A table; the first cell of each row is its heading."""

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str

    @property
    def text_header(self) -> list[str]:
        """The titles of the columns, with n where all estimates of a column have the same."""
        return [_with_n(title, n) for title, n in zip(self.header, self._shared_n, strict=True)]

    @property
    def text_rows(self) -> list[list[str]]:
        """All cells as text, with n where it differs within a column; in the heading, if it fits the row."""
        shared = self._shared_n
        rows = []
        for row in self.rows:
            sizes = [cell.n for cell in row if isinstance(cell, Estimate)]
            in_heading = len(sizes) > 1 and len(set(sizes)) == 1 and not any(shared)
            texts = [
                cell_text(cell, n is None and not in_heading) for cell, n in zip(row, shared, strict=True)
            ]
            rows.append([_with_n(texts[0], sizes[0]), *texts[1:]] if in_heading else texts)
        return rows

    @property
    def footnotes(self) -> list[str]:
        """What the asterisks in the cells stand for."""
        cells = [cell for row in self.rows for cell in row if isinstance(cell, Estimate)]
        return list(dict.fromkeys(cell.note for cell in cells if cell.note and cell.low is not None))

    @property
    def _shared_n(self) -> list[int | None]:
        """By column, the n that all its estimates have."""
        columns = [[row[column] for row in self.rows] for column in range(len(self.header))]
        sizes = [{cell.n for cell in column if isinstance(cell, Estimate)} for column in columns]
        return [each.pop() if len(each) == 1 else None for each in sizes]


@dataclass(frozen=True)
class Section:
    """A part of a report, or of a section; HTML shows only the title of a folded one until it is opened."""

    title: str
    blocks: Sequence["Block"]
    anchor: str = ""
    folded: bool = False


Block = Paragraph | BulletList | Code | Figures | Cards | Samples | Table | Section


@dataclass(frozen=True)
class Document:
    """A report. The notices stand above everything else."""

    title: str
    notices: Sequence[str]
    sections: Sequence[Section]

    @property
    def charts(self) -> dict[str, Chart]:
        """Every chart by its name, which is also that of its file."""
        return {chart.name: chart for section in self.sections for chart in _charts(section)}


def _charts(section: Section) -> Iterator[Chart]:
    for block in section.blocks:
        if isinstance(block, Figures):
            yield from block.charts
        elif isinstance(block, Section):
            yield from _charts(block)


def cell_text(cell: Cell, with_n: bool = True) -> str:
    """Return a cell as text: `0.833 (0.720-0.907), n = 60` with its 95% CI, `+0.050 (-0.010 to +0.110)`."""
    if isinstance(cell, Estimate):
        text = _with_limits(cell.value, cell.low, cell.high)
        noted = "*" if cell.note and cell.value is not None and cell.low is not None else ""
        return f"{text}{noted}, n = {cell.n}" if with_n else text + noted
    if isinstance(cell, CalibrationError):
        return _with_limits(cell.value, cell.null_low, cell.null_high)
    if isinstance(cell, Comparison):
        if cell.difference is None or cell.p_holm is None:
            return UNDEFINED
        limits = "" if cell.low is None or cell.high is None else f" ({cell.low:+.3f} to {cell.high:+.3f})"
        return f"{cell.difference:+.3f}{limits}, p = {cell.p_holm:.2g}"
    return number(cell) if isinstance(cell, float) or cell is None else str(cell)


def number(value: float | None) -> str:
    """Return three decimals."""
    return UNDEFINED if value is None else f"{value:.3f}"


def percent(share: float) -> str:
    """Return a share of 1 as `95%`."""
    return f"{100 * share:.0f}%"


def in_words(estimate: Estimate) -> str:
    """Return an estimate for a sentence: `0.833 (95% CI 0.720-0.907, n = 60)`."""
    if estimate.value is None:
        return f"{UNDEFINED} (n = {estimate.n})"
    interval = (
        "no interval"
        if estimate.low is None or estimate.high is None
        else f"95% CI {estimate.low:.3f}-{estimate.high:.3f}"
    )
    return f"{estimate.value:.3f} ({interval}, n = {estimate.n})"


def count_in_words(proportion: Estimate, unit: str = "image") -> str:
    """Return a proportion as a count: `50 of 60 images`."""
    return f"{round((proportion.value or 0.0) * proportion.n)} of {proportion.n} {unit}s"


def printable(text: str) -> str:
    """Return text without what shows nothing, steers a terminal or turns the direction of writing."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


def _with_n(title: str, n: int | None) -> str:
    return title if n is None else f"{title} (n = {n})"


def _with_limits(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return UNDEFINED
    return (
        f"{value:.3f} ({low:.3f}-{high:.3f})"
        if low is not None and high is not None
        else (f"{value:.3f} (no interval)")
    )
