"""The audit's findings as a document: the most severe first, the images counted, the checks made."""

from collections import Counter

from tumorboard import NOTICE
from tumorboard.audit.findings import SEVERITIES, Finding
from tumorboard.audit.runner import CHECKS, Report
from tumorboard.errors import WHOLE, display, plural
from tumorboard.reports import terminal
from tumorboard.reports.document import Block, BulletList, Cell, Document, Paragraph, Section, Table

_SHOWN = 3
"""Groups of files per finding, and files per group."""
_LINES = 6
"""Findings in a summary."""


def audit_report(report: Report) -> Document:
    """Compose everything that the audit found."""
    blocks = [block for code, finding in report.findings for block in _finding_blocks(code, finding)]
    outcomes = {
        **dict.fromkeys(report.passed, "passed"),
        **{code: f"not applicable: {reason}" for code, reason in report.not_applicable.items()},
        **dict.fromkeys(report.muted, "muted"),
    }
    checks: list[list[Cell]] = [
        [f"{code} {CHECKS[code].title}", outcome] for code, outcome in outcomes.items()
    ]
    return Document(
        f"Audit: {summary_line(report)}",
        [NOTICE],
        [
            Section("Findings", blocks or [Paragraph("None.")], "findings"),
            _image_section(report),
            Section("Checks without findings", [Table(["check", "outcome"], checks, "Outcomes")], "checks"),
        ],
    )


def _image_section(report: Report) -> Section:
    splits = report.counts.values()
    counts: list[list[Cell]] = [
        [display(name), *(counts[name] for counts in splits)] for name in next(iter(splits), {})
    ]
    header = ["class", *(split or "all" for split in report.counts)]
    return Section("Images", [Table(header, counts, "Readable images")], "images")


def audit_summary(report: Report) -> Document:
    """Compose what `audit` prints, some fifteen lines: the gravest findings and the number of images."""
    findings = [f"{finding.severity} {code}: {finding.title}" for code, finding in report.findings]
    rest = Counter(finding.severity for _, finding in report.findings[_LINES:])
    others = ", ".join(plural(rest[severity], severity) for severity in SEVERITIES if rest[severity])
    images = ", ".join(f"{sum(of.values())} {split or 'in all'}" for split, of in report.counts.items())
    classes = len(next(iter(report.counts.values()), {}))
    sections = [
        terminal.short_lines("Findings", findings[:_LINES] or ["None."], rows=2),
        Section(f"  and {others}" if others else "", []),
        Section(f"Muted: {', '.join(report.muted)}" if report.muted else "", []),
        Section(f"Readable images: {images}; {classes} classes", []),
    ]
    return Document(f"Audit: {summary_line(report)}", [], sections)


def summary_line(report: Report) -> str:
    """Return `2 errors, 5 warnings, 1 note; 12 checks passed, 3 not applicable`."""
    counts = Counter(finding.severity for _, finding in report.findings)
    findings = ", ".join(plural(counts[severity], severity) for severity in SEVERITIES)
    checks = f"{len(report.passed)} checks passed, {len(report.not_applicable)} not applicable"
    return f"{findings}; {checks}" + (f", {len(report.muted)} muted" if report.muted else "")


def _finding_blocks(code: str, finding: Finding) -> list[Block]:
    files = [
        " = ".join(display(name, WHOLE) for name in group[:_SHOWN])
        + (f" = {len(group) - _SHOWN} more" if len(group) > _SHOWN else "")
        for group in finding.files[:_SHOWN]
    ]
    if len(finding.files) > _SHOWN:
        files.append(f"{len(finding.files) - _SHOWN} more")
    return [
        Paragraph(finding.title, f"{finding.severity.upper()} {code}"),
        BulletList([finding.consequence, f"{finding.remedy} [{CHECKS[code].page}]", *files]),
    ]
