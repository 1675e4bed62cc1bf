"""What a check says: findings, or nothing found, or that it did not apply, which is not the same."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tumorboard.auditing.study import Study
from tumorboard.data.manifest import Sample

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
Number = int | float | str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that the reader of a result must know.

    Args:
        severity: "error": figures are wrong because of it; "warning": they may be; "note": good to know.
        title: What was found, with its number, one line.
        consequence: What it means for the result, one sentence.
        remedy: What to do.
        files: Ids, or lines about files that have none, in groups that belong together.
        numbers: The figures behind the title.
    """

    severity: Severity
    title: str
    consequence: str
    remedy: str
    files: tuple[tuple[str, ...], ...] = ()
    numbers: Mapping[str, Number] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """The check could not be made, for this reason."""

    reason: str


Outcome = tuple[Finding, ...] | NotApplicable
"""No finding at all is a check passed."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check and its code, which never changes its meaning; docs/checks/<code>.md describes it."""

    code: str
    title: str
    look: Callable[[Study], Outcome]


def alone(ids: "list[str] | tuple[str, ...]") -> tuple[tuple[str, ...], ...]:
    """Files that do not belong together: a group each."""
    return tuple((one,) for one in ids)


def by_class(study: Study, found: Sequence[Sample]) -> tuple[dict[str, int], str]:
    """How many of each class were found, and the same in words: "3 of 120 a, 1 of 80 b"."""
    whole = Counter(sample.label for sample in study.samples)
    counts = dict(sorted(Counter(sample.label for sample in found).items()))
    return counts, ", ".join(f"{n} of {whole[name]} {name}" for name, n in counts.items())
