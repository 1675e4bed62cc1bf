"""TB302: classes of very different size."""

from collections import Counter

from tumorboard.auditing.outcome import Check, Finding, Outcome, Severity
from tumorboard.auditing.study import Study

_NOTE, _WARNING = 2.0, 5.0


def _look(study: Study) -> Outcome:
    counts = Counter(sample.label for sample in study.samples if sample.split in ("train", ""))
    if len(counts) < 2:
        return ()
    (most, large), (least, small) = counts.most_common()[0], counts.most_common()[-1]
    if large < _NOTE * small:
        return ()
    title = f"{most} has {large} images to learn from, {least} {small}"
    consequence = (
        f"Always saying {most!r} is right for {large / counts.total():.3f} of train; accuracy hides what "
        f"happens to {least!r}."
    )
    remedy = "Read the recall of each class and balanced accuracy; consider class_weights in the recipe."
    severity: Severity = "warning" if large >= _WARNING * small else "note"
    return (Finding(severity, title, consequence, remedy, (), dict(sorted(counts.items()))),)


CHECK = Check("TB302", "class balance", _look)
