"""TB408: images of which nobody says who is the patient."""

from tumorboard.auditing.outcome import Check, Finding, Outcome
from tumorboard.auditing.study import Study


def _look(study: Study) -> Outcome:
    without = sum(not sample.group for sample in study.samples)
    if not without:
        return ()
    whole = len(study.samples)
    return (
        Finding(
            "note",
            f"patient independence not checked: {without} of {whole} images belong to no group",
            "Slices of one patient may be in several splits: figures may be too good, intervals too narrow.",
            "Give a manifest CSV with a group column that says which images are of one patient.",
            (),
            {"without": without, "images": whole},
        ),
    )


CHECK = Check("TB408", "images without a group", _look)
