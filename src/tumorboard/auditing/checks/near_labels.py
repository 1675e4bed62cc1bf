"""TB406: nearly identical pictures under two labels."""

from tumorboard.auditing import pairs
from tumorboard.auditing.outcome import Check, Finding, Outcome
from tumorboard.auditing.study import Study


def _look(study: Study) -> Outcome:
    found = pairs.apart(study, "near", lambda sample: sample.label)
    if not found:
        return ()
    return (
        Finding(
            "warning",
            f"{len(found)} groups of nearly identical pictures have two labels",
            "If they show one image, a label is wrong; if not, the classes can hardly be told apart there.",
            "Look at the pictures side by side (--out) and ask who labelled them.",
            pairs.ids(found),
            {"groups": len(found)},
        ),
    )


CHECK = Check("TB406", "nearly identical pictures under two labels", _look)
