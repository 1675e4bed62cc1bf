"""TB603: DICOM headers that identify somebody."""

from collections import Counter

from tumorboard.auditing.outcome import Check, Finding, NotApplicable, Outcome, alone
from tumorboard.auditing.study import Study


def _look(study: Study) -> Outcome:
    if all(picture.header.format != "DICOM" for picture in study.pictures):
        return NotApplicable("no DICOM")
    named = {s.id: p.header.identifiers for s, p in zip(study.samples, study.pictures, strict=True)}
    found = [name for name, identifiers in named.items() if identifiers]
    if not found:
        return ()
    counts = Counter(element for identifiers in named.values() for element in identifiers)
    return (
        Finding(
            "warning",
            f"{len(found)} headers hold identifiers ({', '.join(sorted(counts))}); none is copied anywhere",
            "Figures are not touched by it, but the files may name patients to whoever gets them.",
            "De-identify the files before you share them; keep an id of your own for the patient.",
            alone(found),
            dict(sorted(counts.items())),
        ),
    )


CHECK = Check("TB603", "identifiers in DICOM headers", _look)
