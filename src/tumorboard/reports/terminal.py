"""A document as plain text for a terminal: the same text whether it is shown or piped."""

import io
import textwrap
from collections.abc import Collection, Iterator

from rich import box
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

WIDTH = 110
_INDENT = "  "
_MOST = 60  # of a column; a table is as wide as its numbers need


def render(document: Document, only: Collection[str] = ()) -> str:
    """Return text without a last line break.

    Args:
        document: What to render; its charts and example images are left out.
        only: Anchors of the sections to show, and of the sections in them; all by default.
    """
    parts = ["\n".join(document.notices)] if document.notices else []
    if not only:
        parts.append(document.title)
    for section in document.sections:
        if not only or section.anchor in only:
            parts.append("\n".join(_lines(section, only)))
    return printable("\n\n".join(parts))


def _lines(block: Block, only: Collection[str]) -> Iterator[str]:
    if isinstance(block, Section):
        yield block.title
        for part in block.blocks:
            if isinstance(part, Section) and only and part.anchor not in only:
                yield f"{_INDENT}{part.title} (see results.md)"
            else:
                yield from _lines(part, only)
    elif isinstance(block, Paragraph):
        yield _filled(block)
    elif isinstance(block, BulletList):
        yield from (_filled(item, "- ") for item in block.items)
    elif isinstance(block, Code):
        yield from (_INDENT + line for line in block.text.splitlines())
    elif isinstance(block, Table):
        yield from _table(block)


def _filled(item: Paragraph | str, bullet: str = "") -> str:
    text = item if isinstance(item, str) else f"{item.lead} {item.text}".strip()
    indent = _INDENT + " " * len(bullet)
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=_INDENT + bullet,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _table(block: Table) -> Iterator[str]:
    shown = RichTable(
        box=box.SIMPLE_HEAD, title=Text(printable(block.caption)), title_justify="left", pad_edge=False
    )
    for number, title in enumerate(block.text_header):
        texts = any(isinstance(row[number], str) for row in block.rows)
        shown.add_column(Text(printable(title)), justify="left" if texts else "right", max_width=_MOST)
    for row in block.text_rows:
        shown.add_row(*(Text(printable(cell)) for cell in row))
    file = io.StringIO()
    Console(file=file, width=1000, color_system=None, highlight=False, markup=False).print(shown)
    yield from (line.rstrip() for line in file.getvalue().splitlines() if line.strip())
    yield from (f"{_INDENT}* {note}" for note in block.footnotes)
