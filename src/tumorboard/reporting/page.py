"""`report.html`: one file that needs nothing else, no script, no font, no other host."""

from collections.abc import Iterator
from importlib import resources

import numpy as np

from tumorboard import NOTICE
from tumorboard.reporting import board, sections, sureness
from tumorboard.reporting.answer import answer
from tumorboard.reporting.html import Html, details, element, items, section, table, text
from tumorboard.reporting.material import Material
from tumorboard.reporting.study import SPLITS, SYNTHETIC

# Nothing may be fetched or run, whatever a name or a picture tries.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(material: Material) -> str:
    """The whole report as HTML text; equal material gives equal text."""
    facts, names = material.study.facts, material.study.class_names
    title = f"Study of {len(names)} classes, {len(material.test)} models, recipe {facts.recipe}"
    parts = [
        answer(material),
        sections.results(material),
        sureness.differences(material),
        sections.learning(material),
        sections.confusion(material),
        sections.discrimination(material),
        sections.calibration(material),
        sureness.trust(material),
        board.together(material),
        board.cases(material),
        sections.findings(material),
        _method(material),
    ]
    body = [
        element("a", "Skip to the answer", href="#answer", class_="skip"),
        element("header", *_notices(material), element("h1", title), _contents()),
        element("main", *parts),
        element("footer", element("p", f"{NOTICE} Made by tumorboard from the files of its run folder.")),
    ]
    return f"<!DOCTYPE html>\n{element('html', head(title), element('body', *body), lang='en')}\n"


def _notices(material: Material) -> Iterator[Html]:
    yield element("p", NOTICE, class_="notice")
    if material.study.facts.synthetic:
        yield element("p", SYNTHETIC, class_="notice")


def head(title: str) -> Html:
    """A page's head: the style inside it, and a policy under which nothing is fetched or run."""
    style = resources.files("tumorboard.reporting").joinpath("report.css").read_text("utf-8")
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Html(style)),
    )


def _contents() -> Html:
    links = {
        "answer": "Answer",
        "results": "Results",
        "differences": "Differences",
        "learning": "Learning",
        "confusion": "Confusion",
        "curves": "Curves",
        "calibration": "Calibration",
        "trust": "When to ask a human",
        "board": "Combining",
        "cases": "Cases",
        "audit": "Audit",
        "method": "How it was made",
    }
    entries = [element("a", title, href=f"#{anchor}") for anchor, title in links.items()]
    return element("nav", items(entries), aria_label="Contents")


def _method(material: Material) -> Html:
    facts, names = material.study.facts, material.study.class_names
    rows = []
    for split in SPLITS:
        counts = np.bincount(material.study.labels[split].labels, minlength=len(names)).tolist()
        rows.append([sections.TITLES[split], *map(str, counts), str(sum(counts))])
    times = [[phase, f"{seconds:.1f}"] for phase, seconds in facts.seconds.items()]
    return section(
        "method",
        "How it was made",
        table("Images by part and class", ["part", *names, "all"], rows),
        items([f"Recipe: {facts.recipe}; seed {facts.seed}; backend {facts.backend}", *facts.models]),
        table("Time by phase", ["phase", "seconds"], times),
        element("h3", "To repeat it"),
        element("pre", element("code", facts.command), tabindex="0"),
        details("Every setting", element("pre", element("code", text(material.recipe)), tabindex="0")),
        details("Environment", items(f"{name}: {value}" for name, value in material.environment.items())),
    )
