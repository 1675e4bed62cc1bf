"""Write docs/checks.md, the documentation of the audit's checks, from their docstrings.

python tools/check_docs.py
"""

import inspect
import textwrap
from pathlib import Path

from tumorboard.audit.findings import PARTS, Check
from tumorboard.audit.runner import CHECKS, FAMILIES

PAGE = Path(__file__).parents[1] / "docs" / "checks.md"
_WIDTH = 100
_INTRODUCTION = """\
# Checks of the audit

`tumorboard audit DATA` and `tumorboard train` run these checks before anything is trained. An *error* means
that metrics are wrong because of it, a *warning* that they may be; a *note* is for information. A check that
could not be made is listed as not applicable, which is not the same as passed. `--mute CODE` leaves one out.

This page is generated from the docstrings in `src/tumorboard/audit` by `python tools/check_docs.py`."""


def page() -> str:
    """Return the content of docs/checks.md."""
    codes = "\n".join(
        f"| [{code}](#{code.lower()}) | {c.title} | {c.severity} |" for code, c in CHECKS.items()
    )
    blocks = [_INTRODUCTION, f"| code | finds | severity |\n|---|---|---|\n{codes}"]
    for family in FAMILIES:
        title, _, text = (inspect.getdoc(family) or "").partition("\n\n")
        name = family.__name__.rpartition(".")[2].replace("_", " ").capitalize()
        blocks += [f"## {name}", title, *([text] if text else []), *map(_section, family.CHECKS)]
    paragraphs = "\n\n".join(blocks).split("\n\n")
    return "\n\n".join(map(_wrapped, paragraphs)) + "\n"


def _wrapped(paragraph: str) -> str:
    if paragraph.startswith(("|", "#")):
        return paragraph
    return textwrap.fill(paragraph, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _section(check: Check) -> str:
    text = check.documentation
    for part in PARTS:
        text = text.replace(f"\n\n{part}: ", f"\n\n**{part}.** ")
    return f"### {check.code}\n\n**{check.title[0].upper()}{check.title[1:]}** ({check.severity})\n\n{text}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
