"""TB402: identical pictures within a split."""

from tumorboard.auditing import pairs, repeats
from tumorboard.auditing.outcome import Check, Outcome
from tumorboard.auditing.study import Study


def _look(study: Study) -> Outcome:
    return repeats.within_splits(study, pairs.groups(study, "exact"), "identical pictures")


CHECK = Check("TB402", "identical pictures within a split", _look)
