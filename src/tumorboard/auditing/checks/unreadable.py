"""TB101: files that cannot be read."""

from tumorboard.auditing.outcome import Check, Finding, Outcome, alone
from tumorboard.auditing.study import Study


def _look(study: Study) -> Outcome:
    bad = study.problems
    if not bad:
        return ()
    title = f"{len(bad)} {'file is' if len(bad) == 1 else 'files are'} no readable image of a class"
    consequence = "They count nowhere: the study is smaller than its folders, perhaps more so in one class."
    remedy = "Repair or remove them; train stops at them unless --skip-bad is given."
    return (Finding("error", title, consequence, remedy, alone(bad), {"files": len(bad)}),)


CHECK = Check("TB101", "files that cannot be read", _look)
