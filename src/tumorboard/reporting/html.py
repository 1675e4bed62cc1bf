"""HTML written so that what comes from files cannot become a tag: text is escaped unless it is `Html`."""

import html
from collections.abc import Iterable, Sequence

_VOID = ("img", "meta", "link", "br")


class Html(str):
    """Text that is HTML already; made by the functions here only."""


def text(content: str) -> Html:
    """Escaped; characters that show nothing or turn the direction of writing become spaces."""
    return Html(html.escape("".join(c if c.isprintable() or c == "\n" else " " for c in content)))


def element(tag: str, *children: str, **attributes: str) -> Html:
    """<tag>; children that are no `Html` are escaped, and so are attributes.

    Attribute names lose a trailing underscore, others become hyphens: class_="x", aria_label="y".
    """
    named = ((name.rstrip("_").replace("_", "-"), text(value)) for name, value in attributes.items())
    opening = f"<{tag}{''.join(f' {name}={chr(34)}{value}{chr(34)}' for name, value in named)}>"
    return Html(opening if tag in _VOID else f"{opening}{join(children)}</{tag}>")


def join(parts: Iterable[str]) -> Html:
    """One after the other, those that are no `Html` escaped."""
    return Html("".join(part if isinstance(part, Html) else text(part) for part in parts))


def items(parts: Iterable[str]) -> Html:
    """A list of points."""
    return element("ul", *(element("li", part) for part in parts))


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Html:
    """A table that scrolls by itself where it is too wide; the first cell of a row is its heading."""
    head = element("tr", *(element("th", cell, scope="col") for cell in header))
    body = join(
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:]))
        for row in rows
    )
    whole = element(
        "table", element("caption", element("span", caption)), element("thead", head), element("tbody", body)
    )
    return scrolling(caption, whole)


def scrolling(label: str, content: Html) -> Html:
    """A region that the keyboard can scroll sideways."""
    return element("div", content, class_="wide", role="region", tabindex="0", aria_label=label)


def section(anchor: str, title: str, *children: str) -> Html:
    """A part of the page with its heading."""
    heading = element("h2", title, id=f"{anchor}-title")
    return element("section", heading, *children, id=anchor, aria_labelledby=f"{anchor}-title")


def details(summary: str, *children: str) -> Html:
    """What opens on demand, without a script."""
    return element("details", element("summary", summary), *children)
