"""TB503: the class guessed from the border alone."""

from tumorboard.auditing.clues import borders
from tumorboard.auditing.guessing import guessing
from tumorboard.auditing.outcome import Check, Outcome
from tumorboard.auditing.study import Study


def _look(study: Study) -> Outcome:
    return guessing(
        study,
        borders(study),
        "the border",
        "The outermost sixteenth of an image shows no disease; what tells the class there is a mark, a crop "
        "or a table, or a patient who is in the data more than once.",
        "Look at the corners for marks, crop all classes alike, and keep patients together in splits.",
    )


CHECK = Check("TB503", "the class guessed from the border", _look)
