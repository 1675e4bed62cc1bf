"""TB304: a valid or test part too small to tell models apart."""

from tumorboard.auditing.outcome import Check, Finding, NotApplicable, Outcome, Severity
from tumorboard.auditing.study import Study
from tumorboard.evaluation.intervals import wilson

_FEW, _FEWER = 100, 30


def _look(study: Study) -> Outcome:
    sizes = {
        split: sum(n.values()) for split, n in study.manifest.counts.items() if split in ("valid", "test")
    }
    if not sizes:
        return NotApplicable("the data has no valid or test part of its own")
    return tuple(_small(split, n) for split, n in sizes.items() if n < _FEW)


def _small(split: str, n: int) -> Finding:
    right = round(0.8 * n)
    low, high = wilson(right, n)
    consequence = (
        f"If {right} of them are right, the true accuracy lies anywhere from {low:.2f} to {high:.2f}: "
        "models that differ less are not told apart."
    )
    remedy = "Add images, or cross-validate; do not choose by differences within the interval."
    numbers = {"images": n, "low": round(low, 4), "high": round(high, 4)}
    severity: Severity = "warning" if n < _FEWER else "note"
    return Finding(severity, f"{split} has {n} images", consequence, remedy, (), numbers)


CHECK = Check("TB304", "parts too small to compare models on", _look)
