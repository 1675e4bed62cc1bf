"""A document as one HTML page that needs nothing else: no script, no font, no other host."""

import base64
import re
from collections.abc import Callable
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from tumorboard.reports.charts import legend_sample, to_svg
from tumorboard.reports.document import VISIBLE_CARDS, CaptionedImage, Document, printable

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
    text = str(escape(printable(cell)))
    return Markup(re.sub(pattern, r'<span class="together">\g<0></span>', text))  # noqa: S704


# Every text of a document is cleaned and escaped; only SVG, which is escaped already, is not.
_ENVIRONMENT = Environment(
    loader=PackageLoader("tumorboard.reports", "."),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=lambda value: value if isinstance(value, Markup) else printable(str(value)),
    trim_blocks=True,
    lstrip_blocks=True,
)
_FILTERS: dict[str, Callable[..., Any]] = {
    "kind": lambda block: type(block).__name__,
    "svg": lambda chart: Markup(to_svg(chart)),  # noqa: S704
    "legend_sample": lambda number: Markup(legend_sample(number)),  # noqa: S704
    "data_url": data_url,
    "keep_together": keep_together,
}
_ENVIRONMENT.filters.update(_FILTERS)
