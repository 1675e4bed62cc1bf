"""The audit as text: the most severe first, a table of what was looked at, and what was not."""

from collections import Counter
from collections.abc import Iterator, Sequence

from tumorboard.audit.findings import SEVERITIES, Finding
from tumorboard.audit.runner import CHECKS, Report
from tumorboard.data.image_reader import display

_SHOWN = 3


def audit_text(report: Report) -> str:
    """Everything that a person at a terminal wants to know, without a last line break."""
    blocks = ["\n".join(_finding(code, finding)) for code, finding in report.findings]
    return "\n\n".join([*blocks, "\n".join(_counts(report)), "\n".join(_summary(report))])


def summary_line(report: Report) -> str:
    """Such as "2 errors, 5 warnings, 1 note; 12 checks passed, 3 not applicable"."""
    counts = Counter(finding.severity for _, finding in report.findings)
    found = ", ".join(f"{counts[one]} {one}{'' if counts[one] == 1 else 's'}" for one in SEVERITIES)
    rest = f"{len(report.passed)} checks passed, {len(report.not_applicable)} not applicable"
    return f"{found}; {rest}" + (f", {len(report.muted)} muted" if report.muted else "")


def _finding(code: str, finding: Finding) -> Iterator[str]:
    yield f"{finding.severity.upper():8}{code}  {_clean(finding.title)}"
    yield f"          {_clean(finding.consequence)}"
    yield f"          {finding.remedy}  [{CHECKS[code].page}]"
    for group in finding.files[:_SHOWN]:
        more = f" = {len(group) - _SHOWN} more" if len(group) > _SHOWN else ""
        yield f"          - {' = '.join(map(display, group[:_SHOWN]))}{more}"
    if len(finding.files) > _SHOWN:
        yield f"          - {len(finding.files) - _SHOWN} more"


def _counts(report: Report) -> Iterator[str]:
    names = list(next(iter(report.counts.values()), {}))
    rows = [["images", *(split or "all" for split in report.counts)]]
    rows += [[display(name), *(str(counts[name]) for counts in report.counts.values())] for name in names]
    yield from _columns(rows)


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join([first.strip().ljust(widths[0]), *others])


def _summary(report: Report) -> Iterator[str]:
    for code in report.passed:
        yield f"passed          {code}  {CHECKS[code].title}"
    for code, reason in report.not_applicable.items():
        yield f"not applicable  {code}  {CHECKS[code].title}: {reason}"
    for code in report.muted:
        yield f"muted           {code}  {CHECKS[code].title}"
    yield ""
    yield summary_line(report)


def _clean(text: str) -> str:
    """Names of classes come from folders."""
    return "".join(c if c.isprintable() else " " for c in text)
