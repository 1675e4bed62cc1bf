"""TB502: the class guessed from intensities alone."""

from tumorboard.auditing.clues import intensities
from tumorboard.auditing.guessing import guessing
from tumorboard.auditing.outcome import Check, Outcome
from tumorboard.auditing.study import Study


def _look(study: Study) -> Outcome:
    return guessing(
        study,
        intensities(study),
        "the histogram of grey",
        "Brightness alone tells the class, which may be the disease, but also the window, the contrast "
        "medium or the scanner.",
        "Compare a model's figures with this one: what it does not add, it may not have seen.",
    )


CHECK = Check("TB502", "the class guessed from intensities", _look)
