"""TB602: DICOM images whose header says that text may be burned in."""

from tumorboard.auditing.outcome import Check, Finding, NotApplicable, Outcome, alone
from tumorboard.auditing.study import Study
from tumorboard.data.dicom.picture import BURNED_IN

_SAYS = BURNED_IN.partition("{")[0]


def _look(study: Study) -> Outcome:
    if all(picture.header.format != "DICOM" for picture in study.pictures):
        return NotApplicable("no DICOM: no header says whether text is burned in")
    found = [
        sample.id
        for sample, picture in zip(study.samples, study.pictures, strict=True)
        if any(_SAYS in note for note in picture.notes)
    ]
    if not found:
        return ()
    return (
        Finding(
            "warning",
            f"{len(found)} may carry burned-in text, by their headers",
            "Burned-in text may name the patient, and a network can learn it instead of the disease.",
            "Look at them; crop or black out the text before you share images, models or reports.",
            alone(found),
            {"files": len(found)},
        ),
    )


CHECK = Check("TB602", "text burned into DICOM images", _look)
