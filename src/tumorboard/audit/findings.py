"""Define a check of the audit, its documentation and its outcome."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from tumorboard.audit.dataset_facts import DatasetFacts

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
Number = int | float | str

PARTS = ("Why it matters", "How it is measured", "What to do")
"""Parts of a check's documentation; what it finds stands before them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem of the data that the reader of a result must know.

    Args:
        severity: "error": metrics are wrong because of it; "warning": they may be; "note": for information.
        title: What was found, with its number, one line.
        consequence: What it means for the results, one sentence.
        remedy: What to do.
        files: Ids, or lines about files that have none, in groups that belong together.
        numbers: The numbers behind the title.
    """

    severity: Severity
    title: str
    consequence: str
    remedy: str
    files: tuple[tuple[str, ...], ...] = ()
    numbers: Mapping[str, Number] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """The reason why a check cannot be made; not the same as a check passed."""

    reason: str


Outcome = tuple[Finding, ...] | NotApplicable
"""A check without findings has passed."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the audit.

    Args:
        code: "TB" and three digits; it never changes its meaning.
        title: What is looked for, in a few words.
        severity: Of its findings, such as "warning or note".
        run: Makes the check.
        documentation: What it finds, then each of `PARTS`, in Markdown.
    """

    code: str
    title: str
    severity: str
    run: Callable[[DatasetFacts], Outcome]
    documentation: str

    @property
    def page(self) -> str:
        """Where the check is documented."""
        return f"docs/checks.md#{self.code.lower()}"


def check(
    code: str, title: str, severity: str = "warning"
) -> Callable[[Callable[[DatasetFacts], Outcome]], Check]:
    """Make a function on the facts a check; its docstring is the check's documentation."""
    return lambda run: Check(code, title, severity, run, inspect.getdoc(run) or "")


def separate_files(ids: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Files that do not belong together, as `Finding.files`: each a group of its own."""
    return tuple((name,) for name in ids)
