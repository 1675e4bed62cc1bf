"""Pictures that one split holds more than once."""

from collections import Counter
from collections.abc import Sequence

from tumorboard.auditing.outcome import Finding, Number
from tumorboard.auditing.pairs import Group, ids
from tumorboard.auditing.study import Study


def within_splits(study: Study, groups: Sequence[Group], what: str) -> tuple[Finding, ...]:
    """A finding if a split holds members of a group more than once.

    Args:
        study: The facts.
        groups: Twins.
        what: What they are, for the title.
    """
    repeated = tuple(g for g in groups if len({sample.split for sample in g}) < len(g))
    if not repeated:
        return ()
    title, numbers = _superfluous(study, repeated)
    return (
        Finding(
            "warning",
            f"{what} more than once: {title}",
            "A repeated picture weighs more in training, and makes intervals on valid and test too narrow.",
            "Keep one of each; tumorboard split keeps them together.",
            ids(repeated),
            numbers,
        ),
    )


def _superfluous(study: Study, repeated: Sequence[Group]) -> tuple[str, dict[str, Number]]:
    """How many images could go from each class of each split, the most in a class named."""
    extra: Counter[tuple[str, str]] = Counter()
    for group in repeated:
        first: set[str] = set()
        for sample in group:
            extra[sample.split, sample.label] += sample.split in first
            first.add(sample.split)
    (split, label), most = extra.most_common(1)[0]
    counts, where = study.manifest.counts, f" of {split}" if split else ""
    title = (
        f"{extra.total()} of {len(study.samples)} images repeat another of their split, among them "
        f"{most} of {counts[split][label]} {label}{where}"
    )
    return title, {f"{split or 'all'}: {label}": n for (split, label), n in sorted(extra.items()) if n}
