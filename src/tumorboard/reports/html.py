"""A document as one HTML page that needs nothing else: no script, no font, no other host."""

import base64
import re
from collections.abc import Callable
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from tumorboard.reports.charts import legend_sample, to_svg
from tumorboard.reports.document import VISIBLE_CARDS, CaptionedImage, Document
from tumorboard.reports.names import printable

# Nothing may be fetched or run, whatever a name or an image tries.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def render(document: Document) -> str:
    """Return the page; equal documents give equal text."""
    style = resources.files("tumorboard.reports").joinpath("report.css").read_text("utf-8")
    page = _ENVIRONMENT.get_template("report.html.jinja")
    style = Markup(style)  # noqa: S704  our own file
    return (
        page.render(document=document, policy=POLICY, style=style, visible_cards=VISIBLE_CARDS).lstrip()
        + "\n"
    )


def data_url(image: CaptionedImage) -> str:
    """Return the JPEG as a URL that contains it."""
    return f"data:image/jpeg;base64,{base64.b64encode(image.jpeg).decode('ascii')}"


def keep_together(cell: str) -> Markup:
    """Return the cell escaped, its interval, n and p each in a <span> that does not break into two lines."""
    pattern = r"\([-+\d.]+(?:-| to )[-+\d.]+\)\*?|n = \d+|p = [-+.e\d]+"
    return Markup(re.sub(pattern, r'<span class="together">\g<0></span>', str(shown(cell))))  # noqa: S704


def plain(text: object) -> Markup:
    """Return text cleaned and escaped, for an attribute, a title or code."""
    return escape(printable(str(text)))


def shown(text: object) -> Markup:
    """Return text cleaned and escaped for the page, in which long names may break at `.`, `_`, `/` and `-`.

    A name written from right to left gets an element of its own: it would take in the number behind it.
    """
    words = re.split(r"(\s+)", printable(str(text)))
    parts = (_PIECE.findall(word) if len(word) > _LONG_WORD else [word] for word in words)
    html = "".join("<wbr>".join(map(escape, part)) for part in parts)
    return Markup(_RIGHT_TO_LEFT.sub(r"<bdi>\g<0></bdi>", html))  # noqa: S704


_LONG_WORD = 20
# Latin words may break after 16 letters; in other scripts letters would lose the forms that join them.
_PIECE = re.compile(r"[^._/\-\u0250-\U0010ffff]{1,16}[._/-]*|[\u0250-\U0010ffff]+[._/-]*|[._/-]+")
_RIGHT = r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
_RIGHT_TO_LEFT = re.compile(rf"{_RIGHT}(?:[^A-Za-z&<>(),;:]*{_RIGHT})?")

# Every text of a document is cleaned and escaped; only what is Markup already is not.
_ENVIRONMENT = Environment(
    loader=PackageLoader("tumorboard.reports", "."),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=lambda value: value if isinstance(value, Markup) else shown(value),
    trim_blocks=True,
    lstrip_blocks=True,
)
_FILTERS: dict[str, Callable[..., Any]] = {
    "plain": plain,
    "kind": lambda block: Markup(type(block).__name__),  # noqa: S704
    "svg": lambda chart: Markup(to_svg(chart)),  # noqa: S704
    "legend_sample": lambda number: Markup(legend_sample(number)),  # noqa: S704
    "data_url": lambda image: plain(data_url(image)),
    "keep_together": keep_together,
}
_ENVIRONMENT.filters.update(_FILTERS)
