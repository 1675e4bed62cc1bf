"""TB403: one picture under two labels."""

from tumorboard.auditing import pairs
from tumorboard.auditing.outcome import Check, Finding, Outcome
from tumorboard.auditing.study import Study


def _look(study: Study) -> Outcome:
    found = pairs.apart(study, "exact", lambda sample: sample.label)
    if not found:
        return ()
    said = "; ".join(" and ".join(sorted({s.label for s in group})) for group in found[:3])
    return (
        Finding(
            "error",
            f"{len(found)} {'picture has' if len(found) == 1 else 'pictures have'} two labels ({said})",
            "At least one label is wrong: a model is taught a contradiction and marked wrong for the truth.",
            "Ask who labelled them; correct or remove them.",
            pairs.ids(found),
            {"pictures": len(found)},
        ),
    )


CHECK = Check("TB403", "identical pictures under two labels", _look)
