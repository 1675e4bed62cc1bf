"""TB601: coloured marks on grey images."""

from tumorboard.auditing.outcome import Check, Finding, Outcome, alone, by_class
from tumorboard.auditing.study import Picture, Study

_GREY = 8  # median spread of the channels, 0-255
_FEWEST = 20  # pixels


def _look(study: Study) -> Outcome:
    found = [s for s, p in zip(study.samples, study.pictures, strict=True) if _marked(p)]
    if not found:
        return ()
    counts, shown = by_class(study, found)
    return (
        Finding(
            "warning",
            f"{len(found)} grey images carry coloured marks ({shown})",
            "A network can learn the marks, arrows or writing of one class instead of the disease.",
            "Get the images without them, or crop them away; compare Grad-CAM pictures of these images.",
            alone([sample.id for sample in found]),
            counts,
        ),
    )


def _marked(picture: Picture) -> bool:
    coloured = picture.coloured * picture.height * picture.width
    return picture.median_colour < _GREY and coloured >= _FEWEST


CHECK = Check("TB601", "coloured marks on grey images", _look)
