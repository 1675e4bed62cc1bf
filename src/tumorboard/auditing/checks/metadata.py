"""TB501: the class guessed from metadata alone."""

from tumorboard.auditing.clues import metadata
from tumorboard.auditing.guessing import guessing
from tumorboard.auditing.outcome import Check, Outcome
from tumorboard.auditing.study import Study


def _look(study: Study) -> Outcome:
    return guessing(
        study,
        metadata(study),
        "metadata",
        "What tells the class here is not in the patient but in how the file was made, and traces of that "
        "are in the pixels.",
        "Get all classes from one source and store them alike; read the figures of the other classes apart.",
    )


CHECK = Check("TB501", "the class guessed from metadata", _look)
