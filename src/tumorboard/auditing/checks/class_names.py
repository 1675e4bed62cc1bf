"""TB301: class folders that are named differently in the splits."""

from tumorboard.auditing.outcome import Check, Finding, NotApplicable, Outcome
from tumorboard.auditing.study import Study


def _look(study: Study) -> Outcome:
    if study.matching is None:
        return NotApplicable("the names of the class folders are not known any more")
    if len(study.matching.splits) < 2:
        return NotApplicable("the data has one part only")
    differing = [row for row in study.matching.rows if len(set(row[1:])) > 1]
    if not differing:
        return ()
    title = f"{len(differing)} of {len(study.matching.rows)} classes are named differently in the splits"
    consequence = (
        "Tools that number classes by sorted names mix them up unless the order happens to be the same."
    )
    remedy = "Check the matches listed here; --class-map decides where they are wrong."
    files = tuple(tuple(dict.fromkeys(row[1:])) for row in differing)
    return (Finding("note", title, consequence, remedy, files, {"classes": len(differing)}),)


CHECK = Check("TB301", "class names that differ by split", _look)
