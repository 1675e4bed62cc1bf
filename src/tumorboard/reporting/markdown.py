"""Small pieces of Markdown; names come from folders and files, so they are escaped."""

import re
from collections.abc import Iterable, Iterator, Sequence

from tumorboard.evaluation.intervals import Estimate

UNDEFINED = "n/a"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line: no cell is ended, no tag, link or emphasis begun.

    Characters that show nothing, among them those that turn the direction of writing, become spaces.
    """
    visible = "".join(c if c.isprintable() else " " for c in text)
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", " ".join(visible.split())).replace("&", "&amp;")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column is text, the others are numbers. Cells are Markdown already."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def code_block(text: str) -> str:
    """Lines shown as they are."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def decimals(value: float | None) -> str:
    """Three decimals."""
    return UNDEFINED if value is None else f"{value:.3f}"


def with_interval(measure: Estimate) -> str:
    """Three decimals, and the 95 % interval in brackets; a star where `Estimate.note` is not empty."""
    if measure.value is None:
        return UNDEFINED
    if measure.low is None or measure.high is None:
        return f"{measure.value:.3f} (no interval)"
    star = "\\*" if measure.note else ""
    return f"{measure.value:.3f} ({measure.low:.3f} to {measure.high:.3f}){star}"


def stars(measures: Iterable[Estimate]) -> Iterator[str]:
    """A line for each thing that a star says."""
    notes = dict.fromkeys(one.note for one in measures if one.note and one.low is not None)
    yield from (f"\\* {note}." for note in notes)


def of_n(measure: Estimate) -> str:
    """As `with_interval`, with the number of samples, which differs from row to row."""
    return f"{with_interval(measure)}, n = {measure.n}"
