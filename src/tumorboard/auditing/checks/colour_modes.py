"""TB201: colour modes by class."""

from tumorboard.auditing.clues import of_pictures
from tumorboard.auditing.guessing import guessing
from tumorboard.auditing.outcome import Check, Outcome
from tumorboard.auditing.study import Study


def _look(study: Study) -> Outcome:
    return guessing(
        study,
        of_pictures(study, lambda p: p.header.mode),
        "the colour mode",
        "Classes came by different routes; every image is read as 8-bit RGB, so that a network does not see "
        "this itself, but it may see what came with it.",
        "Get all classes from one source; until then read the figures of the other classes apart.",
    )


CHECK = Check("TB201", "colour modes by class", _look)
