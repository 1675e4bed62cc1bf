"""TB404: nearly identical pictures in more than one split."""

from tumorboard.auditing import pairs
from tumorboard.auditing.outcome import Check, Finding, NotApplicable, Outcome
from tumorboard.auditing.study import Study


def _look(study: Study) -> Outcome:
    if len(study.manifest.counts) < 2:
        return NotApplicable("the data has one part only")
    title, numbers = pairs.leaks(study, "near")
    if not title:
        return ()
    held = {sample.id for split in pairs.EARLIER for sample in pairs.leaked(study, "near", split)}
    found = [group for group in pairs.groups(study, "near") if any(sample.id in held for sample in group)]
    return (
        Finding(
            "error",
            f"one image stored differently (re-encoded, resized, turned ...): {title}",
            "Figures on these images measure memory, and are too good, though their pixels differ.",
            "Look at the pictures side by side (--out); report figures without them, or split again.",
            pairs.ids(found),
            numbers,
        ),
    )


CHECK = Check("TB404", "nearly identical pictures across splits", _look)
