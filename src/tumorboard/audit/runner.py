"""Run all checks and sort their findings by severity."""

from collections.abc import Collection
from dataclasses import asdict, dataclass

from tumorboard import NOTICE
from tumorboard.audit import (
    class_checks,
    duplicate_checks,
    file_checks,
    group_checks,
    privacy_checks,
    shortcut_checks,
)
from tumorboard.audit.dataset_facts import DatasetFacts
from tumorboard.audit.findings import SEVERITIES, Check, Finding, NotApplicable
from tumorboard.errors import UsageError

FORMAT_VERSION = 1
FAMILIES = (file_checks, shortcut_checks, class_checks, duplicate_checks, group_checks, privacy_checks)

CHECKS: dict[str, Check] = {
    check.code: check
    for check in sorted((check for family in FAMILIES for check in family.CHECKS), key=lambda c: c.code)
}
"""All checks by code, in order."""

SIDE_BY_SIDE = frozenset(check.code for check in duplicate_checks.CHECKS)
"""Codes of findings whose files are to be compared side by side."""


@dataclass(frozen=True)
class Report:
    """The result of an audit.

    Args:
        findings: Code and finding, the most severe first.
        passed: Codes of the checks without findings.
        not_applicable: Code to the reason why the check could not be made.
        muted: Codes of the checks that were not made.
        counts: Readable images by split and class.
        leaked: Ids of the valid and test images of which an earlier split contains a duplicate.
    """

    findings: tuple[tuple[str, Finding], ...]
    passed: tuple[str, ...]
    not_applicable: dict[str, str]
    muted: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    leaked: tuple[str, ...]

    @property
    def severe(self) -> int:
        """Number of errors and warnings."""
        return sum(finding.severity != "note" for _, finding in self.findings)

    def to_json(self) -> dict[str, object]:
        """Return the content of audit.json; a new `format_version` breaks readers of the old one."""
        return {
            "format_version": FORMAT_VERSION,
            "notice": NOTICE,
            "counts": {split or "all": counts for split, counts in self.counts.items()},
            "findings": [
                {"code": code, **asdict(finding), "page": CHECKS[code].page}
                for code, finding in self.findings
            ],
            "passed": list(self.passed),
            "not_applicable": self.not_applicable,
            "muted": list(self.muted),
            "leaked": list(self.leaked),
        }


def run(facts: DatasetFacts, mute: Collection[str] = ()) -> Report:
    """Run every check that is not muted.

    Raises:
        UsageError: `mute` names a code that does not exist.
    """
    require_codes(mute)
    outcomes = {code: check.run(facts) for code, check in CHECKS.items() if code not in mute}
    findings: list[tuple[str, Finding]] = []
    not_applicable: dict[str, str] = {}
    for code, outcome in outcomes.items():
        if isinstance(outcome, NotApplicable):
            not_applicable[code] = outcome.reason
        else:
            findings += [(code, finding) for finding in outcome]
    kinds: tuple[duplicate_checks.Kind, ...] = ("identical", "near")
    return Report(
        findings=tuple(sorted(findings, key=lambda pair: SEVERITIES.index(pair[1].severity))),
        passed=tuple(code for code, outcome in outcomes.items() if outcome == ()),
        not_applicable=not_applicable,
        muted=tuple(sorted(set(mute))),
        counts=facts.manifest.counts,
        leaked=tuple(
            sample.id
            for split in duplicate_checks.EARLIER
            for kind in kinds
            for sample in duplicate_checks.leaked(facts, kind, split)
        ),
    )


def require_codes(codes: Collection[str]) -> None:
    """Check that these codes exist.

    Raises:
        UsageError: Names the known ones.
    """
    unknown = sorted(set(codes) - CHECKS.keys())
    if unknown:
        raise UsageError(
            f"expected codes of checks to mute, found {unknown[0]!r}; known: {', '.join(CHECKS)}", unknown
        )
