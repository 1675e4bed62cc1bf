"""Make all checks and put what they say in order."""

from collections.abc import Collection
from dataclasses import asdict, dataclass

from tumorboard.auditing import pairs
from tumorboard.auditing.checks import (
    bit_depths,
    blank,
    blurred,
    border,
    burned_in,
    class_balance,
    class_names,
    class_shift,
    colour_modes,
    coloured_marks,
    exact_across,
    exact_labels,
    exact_within,
    extreme_sizes,
    file_formats,
    groups_across,
    groups_missing,
    identifiers,
    intensity,
    metadata,
    misnamed,
    near_across,
    near_labels,
    near_within,
    several_frames,
    sizes_by_class,
    small_parts,
    telling_names,
    unreadable,
    writing,
)
from tumorboard.auditing.outcome import SEVERITIES, Finding, NotApplicable
from tumorboard.auditing.study import Study
from tumorboard.errors import UsageError

FORMAT_VERSION = 1
SIDE_BY_SIDE = frozenset({"TB401", "TB402", "TB403", "TB404", "TB405", "TB406"})
"""Codes of findings whose files are to be looked at side by side."""

CHECKS = (
    unreadable.CHECK,
    misnamed.CHECK,
    several_frames.CHECK,
    extreme_sizes.CHECK,
    blank.CHECK,
    colour_modes.CHECK,
    bit_depths.CHECK,
    sizes_by_class.CHECK,
    file_formats.CHECK,
    class_names.CHECK,
    class_balance.CHECK,
    class_shift.CHECK,
    small_parts.CHECK,
    exact_across.CHECK,
    exact_within.CHECK,
    exact_labels.CHECK,
    near_across.CHECK,
    near_within.CHECK,
    near_labels.CHECK,
    groups_across.CHECK,
    groups_missing.CHECK,
    telling_names.CHECK,
    metadata.CHECK,
    intensity.CHECK,
    border.CHECK,
    blurred.CHECK,
    coloured_marks.CHECK,
    burned_in.CHECK,
    identifiers.CHECK,
    writing.CHECK,
)


@dataclass(frozen=True)
class Report:
    """What the audit says.

    Args:
        findings: Code and finding, the most severe first.
        passed: Codes of the checks that found nothing.
        not_applicable: Code to the reason why the check could not be made.
        muted: Codes that were not looked for.
        counts: Readable images by split and class.
        leaked: Ids of the valid and test images that an earlier part holds too, exactly or nearly.
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
        """The report for machines; `format_version` changes when a reader of the old one would fail."""
        return {
            "format_version": FORMAT_VERSION,
            "counts": {split or "all": counts for split, counts in self.counts.items()},
            "findings": [
                {"code": code, **asdict(finding), "page": page(code)} for code, finding in self.findings
            ],
            "passed": list(self.passed),
            "not_applicable": self.not_applicable,
            "muted": list(self.muted),
            "leaked": list(self.leaked),
        }


def page(code: str) -> str:
    """Where a check is described."""
    return f"docs/checks/{code}.md"


def run(study: Study, mute: Collection[str] = ()) -> Report:
    """Make every check that is not muted.

    Raises:
        UsageError: `mute` names a code that does not exist.
    """
    require_codes(mute)
    outcomes = {check.code: check.look(study) for check in CHECKS if check.code not in mute}
    findings = [
        (code, finding)
        for code, outcome in outcomes.items()
        if not isinstance(outcome, NotApplicable)
        for finding in outcome
    ]
    return Report(
        tuple(sorted(findings, key=lambda pair: SEVERITIES.index(pair[1].severity))),
        tuple(code for code, outcome in outcomes.items() if outcome == ()),
        {code: one.reason for code, one in outcomes.items() if isinstance(one, NotApplicable)},
        tuple(sorted(set(mute))),
        study.manifest.counts,
        _leaked(study),
    )


def _leaked(study: Study) -> tuple[str, ...]:
    kinds: tuple[pairs.Kind, ...] = ("exact", "near")
    return tuple(s.id for split in pairs.EARLIER for kind in kinds for s in pairs.leaked(study, kind, split))


def require_codes(codes: Collection[str]) -> None:
    """Check that these codes exist.

    Raises:
        UsageError: Names the known ones.
    """
    known = [check.code for check in CHECKS]
    unknown = sorted(set(codes) - set(known))
    if unknown:
        raise UsageError(
            f"expected codes of checks to mute, found {unknown[0]!r}; known: {', '.join(known)}", unknown
        )
