"""TB401: identical pictures in more than one split."""

from tumorboard.auditing import pairs
from tumorboard.auditing.outcome import Check, Finding, NotApplicable, Outcome
from tumorboard.auditing.study import Study


def _look(study: Study) -> Outcome:
    if len(study.manifest.counts) < 2:
        return NotApplicable("the data has one part only")
    title, numbers = pairs.leaks(study, "exact")
    if not title:
        return ()
    found = pairs.apart(study, "exact", lambda sample: sample.split)
    return (
        Finding(
            "error",
            f"identical pixels: {title}",
            "Figures on these images measure memory, and are too good.",
            "Report figures without them (train does), or make new splits with tumorboard split.",
            pairs.ids(found),
            numbers,
        ),
    )


CHECK = Check("TB401", "identical pictures across splits", _look)
