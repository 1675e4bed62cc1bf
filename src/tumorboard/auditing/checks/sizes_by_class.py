"""TB203: sizes and aspect ratios by class."""

from tumorboard.auditing.clues import sizes
from tumorboard.auditing.guessing import guessing
from tumorboard.auditing.outcome import Check, Outcome
from tumorboard.auditing.study import Study


def _look(study: Study) -> Outcome:
    return guessing(
        study,
        sizes(study),
        "the size",
        "Resizing leaves traces of the original size and shape, as blur or distortion, that a network can "
        "learn instead of the disease.",
        "Crop all classes by one rule, or pad instead of stretching and compare.",
    )


CHECK = Check("TB203", "sizes and aspect ratios by class", _look)
