"""TB104: images far smaller or larger than a network's input, or than the others."""

import numpy as np

from tumorboard.auditing.outcome import Check, Finding, Outcome, alone
from tumorboard.auditing.study import Study

_TINY = 64  # pixels of the shorter side
_HUGE = 25_000_000  # pixels in all
_TIMES = 50  # as many pixels as the median, or as few


def _look(study: Study) -> Outcome:
    return (*_tiny(study), *_huge(study))


def _tiny(study: Study) -> tuple[Finding, ...]:
    areas = _areas(study)
    small = [
        sample.id
        for sample, picture, area in zip(study.samples, study.pictures, areas, strict=True)
        if min(picture.height, picture.width) < _TINY or area * _TIMES < np.median(areas)
    ]
    if not small:
        return ()
    title = f"{len(small)} with a side below {_TINY} pixels or {_TIMES} times fewer pixels than the median"
    consequence = "Enlarged to the network's input they show no detail that a class could be told by."
    remedy = "Look whether they are thumbnails or crops; get the full images or leave them out."
    return (Finding("warning", title, consequence, remedy, alone(small), {"files": len(small)}),)


def _huge(study: Study) -> tuple[Finding, ...]:
    areas = _areas(study)
    large = [
        s.id for s, a in zip(study.samples, areas, strict=True) if a > _HUGE or a > _TIMES * np.median(areas)
    ]
    if not large:
        return ()
    title = f"{len(large)} with more than {_HUGE // 10**6} million or {_TIMES} times the median's pixels"
    consequence = "Reduced to the network's input they lose nearly all detail, and they cost time and memory."
    remedy = "Look whether they are montages or whole sheets; crop what the label is about."
    return (Finding("note", title, consequence, remedy, alone(large), {"files": len(large)}),)


def _areas(study: Study) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    return np.array([picture.height * picture.width for picture in study.pictures], np.int64)


CHECK = Check("TB104", "huge and tiny images", _look)
