"""One figure at a time with its interval: proportions, resampled ones, and areas under curves."""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tumorboard.evaluation import intervals, metrics, ranking, statistics
from tumorboard.evaluation.measure import Measure, measured
from tumorboard.evaluation.resampling import Resamples, Statistic, bca
from tumorboard.predictions import Predictions

Groups = Mapping[str, str]
"""Patient, or what else belongs together, by sample id; none for a sample that is alone."""


FEW_OF_A_CLASS = 10
"""Below it the intervals of macro figures hold the truth less often than they say; see docs/evaluation.md."""
FEW_GROUPS = 50
"""The same for groups."""
UNRELIABLE = f"interval unreliable: a class has fewer than {FEW_OF_A_CLASS} samples"
UNRELIABLE_GROUPS = f"interval unreliable: fewer than {FEW_GROUPS} groups"
REFUSED = "no interval: resampling these samples changes nothing, or leaves it undefined"


@dataclass(frozen=True, eq=False)
class Case:
    """Predictions in the order of their ids, so that no figure depends on the order of the rows."""

    one: Predictions
    groups: npt.NDArray[np.int64] | None

    @functools.cached_property
    def resamples(self) -> Resamples:
        """Draws from it."""
        return Resamples(self.one.labels, self.groups)

    @functools.cached_property
    def statistics(self) -> Mapping[str, Statistic]:
        """Its figures as functions of weights."""
        return statistics.of(self.one)

    @functools.cached_property
    def smallest(self) -> int:
        """Samples of the smallest class that occurs."""
        return int(np.unique(self.one.labels, return_counts=True)[1].min(initial=len(self.one)))

    def caution(self, smallest: int) -> str:
        """What to know of an interval, from the samples of the smallest class that counts."""
        if self.groups is not None and len(np.unique(self.groups)) < FEW_GROUPS:
            return UNRELIABLE_GROUPS
        return UNRELIABLE if smallest < FEW_OF_A_CLASS else ""


def grouped(ids: tuple[str, ...], groups: Groups) -> npt.NDArray[np.int64] | None:
    """(N,) a number for each group, a sample without one being alone; None if no two belong together."""
    names = [("group", groups[one]) if groups.get(one) else ("alone", one) for one in ids]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    if not any(kind == "group" for kind, _ in numbers):
        return None
    return np.array([numbers[name] for name in names], np.int64)


def case_of(predictions: Predictions, groups: Groups) -> Case:
    """Predictions ready to be scored."""
    order = sorted(range(len(predictions)), key=lambda row: predictions.ids[row])
    ids = tuple(predictions.ids[row] for row in order)
    rows = np.array(order, np.int64)
    names, values = predictions.class_names, predictions.probabilities[rows]
    return Case(Predictions(ids, predictions.labels[rows], names, values), grouped(ids, groups))


def resampled(case: Case, name: str, value: float | None = None) -> Measure:
    """A figure with a bootstrap interval; the value is the statistic's own unless an exacter one is given."""
    if not len(case.one):
        return measured(math.nan, 0, None)
    return _with_bca(case, case.statistics[name], value, case.smallest)


def _with_bca(case: Case, statistic: Statistic, value: float | None, smallest: int) -> Measure:
    if value is None:
        value = float(statistic(np.ones((1, len(case.one))))[0])
    interval = bca(statistic, case.resamples)
    note = REFUSED if interval is None else case.caution(smallest)
    return measured(value, len(case.one), interval, note)


def matrix(one: Predictions) -> npt.NDArray[np.int64]:
    """Confusion matrix, (C, C) counts."""
    return metrics.confusion_matrix(one.labels, one.predicted, len(one.class_names))


def proportion(case: Case, hits: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> Measure:
    """Share of hits among some of the samples, with Wilson's interval."""
    n, k = int(among.sum()), int((hits & among).sum())
    if case.groups is None:
        return Measure(k / n if n else None, n, *intervals.wilson(k, n))
    return Measure(k / n if n else None, n, *intervals.wilson_of_groups(hits[among], case.groups[among]))


def balanced(case: Case) -> Measure:
    """Mean recall, its interval joined of those of the recalls, or by drawing groups."""
    value = metrics.balanced_accuracy(case.one.labels, case.one.predicted)
    if case.groups is not None:
        return resampled(case, "balanced_accuracy", value)
    parts = [(int(row[c]), int(row.sum())) for c, row in enumerate(matrix(case.one)) if row.sum()]
    return measured(value, len(case.one), intervals.mean_of_proportions(parts) if parts else None)


def area(case: Case, c: int) -> Measure:
    """Of one class against the others, with DeLong's variance."""
    positive, scores = case.one.labels == c, case.one.probabilities[:, c]
    value = ranking.auroc(positive, scores)
    if math.isnan(value):
        return measured(value, len(case.one), None, "undefined without samples of the class and of others")
    spread = ranking.variance(ranking.influence(positive, scores), case.groups)
    sides = (_independent(case, side) for side in (positive, ~positive))
    note = case.caution(int(min(positive.sum(), (~positive).sum())))
    return measured(value, len(case.one), intervals.area(value, spread, *sides), note)


def macro_area(case: Case) -> Measure:
    """The mean of the classes' areas, with the variance of the mean."""
    one = case.one
    areas, influences = ranking.macro(one.labels, one.probabilities)
    if not len(areas):
        return measured(math.nan, len(one), None, "undefined with samples of one class only")
    value = math.fsum(areas) / len(areas)
    rarest = one.labels == np.bincount(one.labels, minlength=1).argmin()
    spread = ranking.variance(influences, case.groups)
    sides = (max(_independent(case, side), 1) for side in (rarest, ~rarest))
    interval = intervals.area(value, spread, *sides)
    return measured(value, len(one), interval, case.caution(case.smallest))


def _independent(case: Case, among: npt.NDArray[np.bool_]) -> int:
    """Samples, or where groups are known groups, among some."""
    return int(among.sum()) if case.groups is None else len(np.unique(case.groups[among]))


def precision_area(case: Case, c: int) -> Measure:
    """Area of one class under the precision-recall curve."""
    positive = int((case.one.labels == c).sum())
    if not positive:
        return measured(math.nan, len(case.one), None, "undefined without samples of the class")
    return _with_bca(case, statistics.auprc_of(case.one, c), None, positive)
