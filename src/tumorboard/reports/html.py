"""A document as one HTML page that needs nothing else: no script, no font, no other host."""

import base64
import re
from collections.abc import Callable
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from tumorboard.reports.charts import legend_sample, to_svg
from tumorboard.reports.document import Document, Picture, printable

# Nothing may be fetched or run, whatever a name or a picture tries.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def render(document: Document) -> str:
    """Return the page; equal documents give equal text."""
    style = resources.files("tumorboard.reports").joinpath("report.css").read_text("utf-8")
    page = _environment().get_template("report.html.jinja")
    style = Markup(style)  # noqa: S704  our own file
    return page.render(document=document, policy=POLICY, style=style).lstrip() + "\n"


def _environment() -> Environment:
    """Every text from a document is cleaned and escaped; only SVG, which is escaped already, is not."""
    environment = Environment(
        loader=PackageLoader("tumorboard.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        "kind": lambda block: type(block).__name__,
        "svg": lambda chart: Markup(to_svg(chart)),  # noqa: S704
        "legend_sample": lambda number: Markup(legend_sample(number)),  # noqa: S704
        "data_url": _data_url,
        "keep_together": _keep_together,
    }
    environment.filters.update(filters)
    return environment


def _finalized(value: Any) -> Any:
    return value if isinstance(value, Markup) else printable(str(value))


def _data_url(picture: Picture) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(picture.jpeg).decode('ascii')}"


def _keep_together(cell: str) -> Markup:
    """The cell escaped, its interval or n in a <span> that does not break into two lines."""
    pattern = r"\([-+\d.]+(?:-| to )[-+\d.]+\)\*?|n = \d+|p = [-+.e\d]+"
    text = str(escape(printable(cell)))
    return Markup(re.sub(pattern, r'<span class="together">\g<0></span>', text))  # noqa: S704
