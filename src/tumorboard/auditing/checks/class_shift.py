"""TB303: class shares that differ between splits."""

import numpy as np
from scipy.stats import chi2_contingency

from tumorboard.auditing.outcome import Check, Finding, NotApplicable, Outcome
from tumorboard.auditing.study import Study

_CHANCE = 0.01  # of a difference as large between random splits
_NOTE, _WARNING = 0.05, 0.15


def _look(study: Study) -> Outcome:
    counts = study.manifest.counts
    if len(counts) < 2:
        return NotApplicable("the data has one part only")
    found = [_shift(study, split) for split in counts if split != next(iter(counts))]
    return tuple(one for one in found if one)


def _shift(study: Study, split: str) -> Finding | None:
    """Compare a split with the first one."""
    names, counts = study.manifest.class_names, study.manifest.counts
    first = next(iter(counts))
    table = np.array([[counts[part][name] for name in names] for part in (first, split)])
    table = table[:, table.any(axis=0)]
    shares = table / table.sum(axis=1, keepdims=True)
    worst = int(np.abs(shares[1] - shares[0]).argmax())
    gap = abs(shares[1, worst] - shares[0, worst])
    if gap < _NOTE or table.shape[1] < 2 or chi2_contingency(table).pvalue >= _CHANCE:
        return None
    present = [name for name in names if counts[first][name] or counts[split][name]]
    title = f"{present[worst]} is {shares[0, worst]:.3f} of {first} and {shares[1, worst]:.3f} of {split}"
    return Finding(
        "warning" if gap >= _WARNING else "note",
        title,
        "Accuracy on one split does not foretell accuracy on the other, even for a model that is as good.",
        "Split again with all classes in equal shares, or compare recalls and balanced accuracy only.",
        (),
        {f"{part}: {name}": counts[part][name] for part in (first, split) for name in names},
    )


CHECK = Check("TB303", "class shares that shift between splits", _look)
