"""TB105: images that show nothing, or that are read as nearly black."""

import numpy as np

from tumorboard.auditing.outcome import Check, Finding, Outcome, alone
from tumorboard.auditing.study import Study

_FLAT, _DARK = 2.0, 16  # grey levels: standard deviation, brightest


def _look(study: Study) -> Outcome:
    small = study.thumbnails
    empty = (small.std(axis=(1, 2)) < _FLAT) | (small.max(axis=(1, 2), initial=0) < _DARK)
    found = [study.samples[i].id for i in np.flatnonzero(empty)]
    if not found:
        return ()
    title = f"{len(found)} {'is' if len(found) == 1 else 'are'} blank or nearly black as read"
    consequence = "A network learns nothing from them but that a blank image has this label."
    remedy = "Look at them; 16-bit values that use few of their bits must be rescaled, blank images left out."
    return (Finding("warning", title, consequence, remedy, alone(found), {"files": len(found)}),)


CHECK = Check("TB105", "images that show nothing", _look)
