"""TB504: the class guessed from heavily blurred images."""

from tumorboard.auditing.clues import blurred
from tumorboard.auditing.guessing import guessing
from tumorboard.auditing.outcome import Check, Outcome
from tumorboard.auditing.study import Study


def _look(study: Study) -> Outcome:
    return guessing(
        study,
        blurred(study),
        "a picture blurred to 8 x 8 pixels",
        "A small lesion is gone at this size; what tells the class is the crop, the level of the slice, the "
        "window, or a patient who is in the data more than once.",
        "Crop and window all classes alike, keep patients together in splits, and compare a model's figures "
        "with this one.",
    )


CHECK = Check("TB504", "the class guessed from blurred images", _look)
