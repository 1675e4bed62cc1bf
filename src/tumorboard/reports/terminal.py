"""A document as plain text for a terminal: the same text whether it is shown or piped."""

import io
import textwrap
from collections.abc import Iterator
from typing import Literal

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
    printable,
)

WIDTH = 80
_INDENT = "  "
_LONGEST_TEXT = 50  # of a column; longer text is wrapped


def render(document: Document) -> str:
    """Return text without a last line break; charts and example images are left out."""
    notices = "\n".join(map(_filled, document.notices))
    parts = [notices, _filled(document.title), *("\n".join(_lines(part)) for part in document.sections)]
    return printable("\n\n".join(part for part in parts if part))


def _lines(block: Block) -> Iterator[str]:
    if isinstance(block, Section):
        yield _filled(block.title)
        for part in block.blocks:
            yield from _lines(part)
    elif isinstance(block, Paragraph):
        yield _filled(f"{block.lead} {block.text}".strip(), _INDENT)
    elif isinstance(block, BulletList):
        for item in block.items:
            text = item if isinstance(item, str) else f"{item.lead} {item.text}".strip()
            yield _filled(text, f"{_INDENT}- ")
    elif isinstance(block, Code):
        yield from (_INDENT + line for line in block.text.splitlines())
    elif isinstance(block, Table):
        yield from _table(block)


def _filled(text: str, start: str = "") -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _table(block: Table) -> Iterator[str]:
    shown = RichTable(box=None, title=block.caption or None, title_justify="left", pad_edge=False)
    lines = [block.text_header, *block.text_rows]
    widths = []
    for number, column in enumerate(zip(*lines, strict=True)):
        texts = any(isinstance(row[number], str) for row in block.rows)
        longest = max(map(len, column))
        widths.append(min(longest, _LONGEST_TEXT) if texts else longest)  # no number is broken or cut
        justify: Literal["left", "right"] = "left" if texts else "right"
        shown.add_column(Text(printable(column[0])), justify=justify, width=widths[-1])
    for row in lines[1:]:
        shown.add_row(*(Text(printable(cell)) for cell in row))
    file = io.StringIO()
    width = max(WIDTH - len(_INDENT), sum(widths) + 2 * len(widths))  # columns stand two spaces apart
    Console(file=file, width=width, color_system=None, highlight=False, markup=False).print(shown)
    yield from (_INDENT + line.rstrip() for line in file.getvalue().splitlines() if line.strip())
    yield from (f"{_INDENT}* {note}" for note in block.footnotes)
