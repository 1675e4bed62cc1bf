"""A document as Markdown; names come from folders and files, so all text is escaped."""

import re
from collections.abc import Iterator
from urllib.parse import quote

from tumorboard.reports.document import (
    Block,
    BulletList,
    Cards,
    Code,
    Document,
    Figures,
    Paragraph,
    Section,
    Table,
)
from tumorboard.reports.names import printable


def render(document: Document, figures: str = "figures") -> str:
    """Return the document as Markdown text.

    Args:
        document: What to render.
        figures: Where the charts lie as SVG files, seen from the text.
    """
    parts = [f"**{escaped(notice)}**" for notice in document.notices]
    parts.append(f"# {escaped(document.title)}")
    for section in document.sections:
        parts += _rendered(section, 2, figures)
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is, on one line: no cell ends, no tag, link or emphasis begins.

    Characters that show nothing, among them those that turn the direction of writing, become spaces.
    """
    visible = " ".join(printable(text).split())
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", visible).replace("&", "&amp;")


def _rendered(block: Block, level: int, figures: str) -> Iterator[str]:
    if isinstance(block, Section):
        yield f"{'#' * level} {escaped(block.title)}"
        for part in block.blocks:
            yield from _rendered(part, level + 1, figures)
    elif isinstance(block, Paragraph):
        yield _inline(block)
    elif isinstance(block, BulletList):
        if block.items:
            yield "\n".join(f"- {_inline(item)}" for item in block.items)
    elif isinstance(block, Code):
        yield "\n".join(f"    {line}" for line in block.text.splitlines())
    elif isinstance(block, Table):
        yield f"{escaped(block.caption)}:"
        rule = ["---", *["---:"] * (len(block.header) - 1)]
        rows = [[escaped(cell) for cell in cells] for cells in (block.text_header, *block.text_rows)]
        yield "\n".join(f"| {' | '.join(cells)} |" for cells in (rows[0], rule, *rows[1:]))
        yield from (f"\\* {escaped(note)}." for note in block.footnotes)
    elif isinstance(block, Figures):
        for chart in block.charts:
            yield f"![{escaped(chart.title)}]({figures}/{quote(chart.name, safe='')}.svg)"
    elif isinstance(block, Cards):
        lines = (f"{card.title}; {'; '.join(card.lines)}; {card.image_id}" for card in block.cards)
        yield "\n".join(f"- {escaped(line)}" for line in lines)


def _inline(item: Paragraph | str) -> str:
    if isinstance(item, str):
        return escaped(item)
    return f"**{escaped(item.lead)}** {escaped(item.text)}" if item.lead else escaped(item.text)
