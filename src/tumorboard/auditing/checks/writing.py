"""TB604: writing burned into the pixels."""

from tumorboard.auditing.outcome import Check, Finding, Outcome, alone, by_class
from tumorboard.auditing.study import Study

_FEWEST = 3  # signs in a row


def _look(study: Study) -> Outcome:
    pairs = zip(study.samples, study.pictures, strict=True)
    found = [sample for sample, picture in pairs if picture.signs_in_a_row >= _FEWEST]
    if not found:
        return ()
    counts, shown = by_class(study, found)
    return (
        Finding(
            "warning",
            f"what looks like writing, in {len(found)} of {len(study.samples)} images ({shown})",
            "Writing may name the patient, and a network can learn it instead of the disease.",
            "Look at them; crop or black out the writing before you train on them or share anything.",
            alone([sample.id for sample in found]),
            counts,
        ),
    )


CHECK = Check("TB604", "writing in the pixels", _look)
