"""A document as plain text for a terminal: the same text whether it is shown or piped."""

import io
import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Literal

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from tumorboard.reports.document import (
    Block,
    BulletList,
    Code,
    Document,
    Paragraph,
    Section,
    Table,
)
from tumorboard.reports.names import printable

WIDTH = 80
_INDENT = "  "
_HANGING = "    "  # of the further lines of a text
_GAP = 2  # between columns
_LEAST_TEXT = 12  # width of a column of text; with many columns a table is wider than the terminal


def render(document: Document) -> str:
    """Return text without a last line break; charts and example images are left out."""
    parts = [*map(filled, document.notices), filled(document.title)]
    parts += [line for part in document.sections for line in _lines(part)]
    return printable("\n".join(part for part in parts if part))


def short_lines(title: str, sentences: Iterable[str], rows: int = 1) -> Section:
    """Compose a section for a summary, in which each sentence takes so many lines at most.

    One that is too long loses what is in parentheses, then its second clause, then its last words.
    """
    paragraphs = []
    for sentence in sentences:
        plain = re.sub(r" \([^()]*\)", "", sentence)
        versions = (sentence, plain, plain.partition("; ")[0])
        text = next((text for text in versions if len(_wrapped(text, _INDENT)) <= rows), versions[-1])
        paragraphs.append(Paragraph(" ".join(line.strip() for line in _wrapped(text, _INDENT, rows))))
    return Section(title, paragraphs)


def _lines(block: Block) -> Iterator[str]:
    if isinstance(block, Section):
        yield filled(block.title)
        for part in block.blocks:
            yield from _lines(part)
    elif isinstance(block, Paragraph):
        yield filled(f"{block.lead} {block.text}".strip(), _INDENT)
    elif isinstance(block, BulletList):
        for item in block.items:
            text = item if isinstance(item, str) else f"{item.lead} {item.text}".strip()
            yield filled(text, f"{_INDENT}- ")
    elif isinstance(block, Code):
        yield from (_INDENT + line for line in block.text.splitlines())
    elif isinstance(block, Table):
        yield from table(block)


def filled(text: str, start: str = "") -> str:
    """Wrap text to the width of a terminal; a name that is longer is broken."""
    return "\n".join(_wrapped(text, start))


def _wrapped(text: str, start: str, rows: int | None = None) -> list[str]:
    # A filler behind each character of two cells, because textwrap counts characters; it may be cut off.
    spaced = "".join(c + "\0" * (cell_len(c) - 1) for c in text)
    lines = textwrap.wrap(
        spaced,
        WIDTH - (spaced != text),
        initial_indent=start,
        subsequent_indent=_HANGING,
        break_on_hyphens=False,
        max_lines=rows,
        placeholder=" ...",
    )
    return [line.replace("\0", "") for line in lines]


def table(block: Table) -> Iterator[str]:
    """Yield the lines of a table; text and headings are wrapped to fit, no number is broken or cut."""
    columns = list(zip(block.text_header, *block.text_rows, strict=True))
    texts = [any(isinstance(row[number], str) for row in block.rows) for number in range(len(columns))]
    widths = [max(map(cell_len, column)) for column in columns]
    least = [
        min(width, _LEAST_TEXT if text else max(map(cell_len, cells), default=0))
        for width, text, (_, *cells) in zip(widths, texts, columns, strict=True)
    ]
    while sum(widths) + _GAP * (len(widths) - 1) > WIDTH - len(_INDENT) and widths != least:
        widest = max(range(len(widths)), key=lambda number: (widths[number] > least[number], widths[number]))
        widths[widest] -= 1
    shown = RichTable(box=None, title=block.caption or None, title_justify="left", pad_edge=False)
    for (title, *_), text, width in zip(columns, texts, widths, strict=True):
        justify: Literal["left", "right"] = "left" if text else "right"
        shown.add_column(Text(printable(title)), justify=justify, width=width, overflow="fold")
    for row in block.text_rows:
        shown.add_row(*(Text(printable(cell)) for cell in row))
    file = io.StringIO()
    width = max(WIDTH - len(_INDENT), sum(widths) + _GAP * len(widths))
    console = Console(
        file=file,
        width=width,
        color_system=None,
        force_jupyter=False,  # in a notebook, rich would display the table instead of writing it to the file
        highlight=False,
        markup=False,
    )
    console.print(shown)
    yield from (_INDENT + line.rstrip() for line in file.getvalue().splitlines() if line.strip())
    yield from (f"{_INDENT}* {note}" for note in block.footnotes)
