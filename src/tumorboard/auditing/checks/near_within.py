"""TB405: nearly identical pictures within a split."""

from tumorboard.auditing import pairs, repeats
from tumorboard.auditing.outcome import Check, Outcome
from tumorboard.auditing.study import Study


def _look(study: Study) -> Outcome:
    found = pairs.without_copies(study, pairs.groups(study, "near"))
    return repeats.within_splits(study, found, "one image stored differently")


CHECK = Check("TB405", "nearly identical pictures within a split", _look)
