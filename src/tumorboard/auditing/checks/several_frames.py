"""TB103: files with more than one frame or page."""

from tumorboard.auditing.outcome import Check, Finding, Outcome, alone
from tumorboard.auditing.study import Study


def _look(study: Study) -> Outcome:
    found = [s.id for s, p in zip(study.samples, study.pictures, strict=True) if p.header.several]
    if not found:
        return ()
    title = f"{len(found)} with more than one frame or page"
    consequence = "Only the first frame is read, which need not be the one that shows what the label says."
    remedy = "Save each frame that you want as a file of its own."
    return (Finding("warning", title, consequence, remedy, alone(found), {"files": len(found)}),)


CHECK = Check("TB103", "files with several frames", _look)
