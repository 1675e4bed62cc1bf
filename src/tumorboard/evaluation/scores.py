"""One figure at a time with its interval: proportions, resampled ones, and areas under curves."""

import functools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from tumorboard.evaluation import bootstrap, intervals, metrics
from tumorboard.evaluation.bootstrap import Resamples, Statistic, bca
from tumorboard.evaluation.calibration import CalibrationError, calibration_error
from tumorboard.evaluation.intervals import Estimate, estimate
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
        return bootstrap.of(self.one)

    @functools.cached_property
    def smallest(self) -> int:
        """Samples of the smallest class that occurs."""
        return int(np.unique(self.one.labels, return_counts=True)[1].min(initial=len(self.one)))

    def caution(self, smallest: int) -> str:
        """What to know of an interval, from the samples of the smallest class that counts."""
        if self.groups is not None and len(np.unique(self.groups)) < FEW_GROUPS:
            return UNRELIABLE_GROUPS
        return UNRELIABLE if smallest < FEW_OF_A_CLASS else ""


def group_indices(ids: tuple[str, ...], groups: Groups) -> npt.NDArray[np.int64] | None:
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
    return Case(Predictions(ids, predictions.labels[rows], names, values), group_indices(ids, groups))


def resampled(case: Case, name: str, value: float | None = None) -> Estimate:
    """A figure with a bootstrap interval; the value is the statistic's own unless an exacter one is given."""
    if not len(case.one):
        return estimate(math.nan, 0, None)
    return _with_bca(case, case.statistics[name], value, case.smallest)


def _with_bca(case: Case, statistic: Statistic, value: float | None, smallest: int) -> Estimate:
    if value is None:
        value = float(statistic(np.ones((1, len(case.one))))[0])
    interval = bca(statistic, case.resamples)
    note = REFUSED if interval is None else case.caution(smallest)
    return estimate(value, len(case.one), interval, note)


def matrix(one: Predictions) -> npt.NDArray[np.int64]:
    """Confusion matrix, (C, C) counts."""
    return metrics.confusion_matrix(one.labels, one.predicted, len(one.class_names))


def proportion(case: Case, hits: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> Estimate:
    """Share of hits among some of the samples, with Wilson's interval."""
    n, k = int(among.sum()), int((hits & among).sum())
    if case.groups is None:
        return Estimate(k / n if n else None, n, *intervals.wilson(k, n))
    return Estimate(k / n if n else None, n, *intervals.wilson_grouped(hits[among], case.groups[among]))


def balanced(case: Case) -> Estimate:
    """Mean recall, its interval joined of those of the recalls, or by drawing groups."""
    value = metrics.balanced_accuracy(case.one.labels, case.one.predicted)
    if case.groups is not None:
        return resampled(case, "balanced_accuracy", value)
    parts = [(int(row[c]), int(row.sum())) for c, row in enumerate(matrix(case.one)) if row.sum()]
    return estimate(value, len(case.one), intervals.mean_of_proportions(parts) if parts else None)


def area(case: Case, c: int) -> Estimate:
    """Of one class against the others, with DeLong's variance."""
    positive, scores = case.one.labels == c, case.one.probabilities[:, c]
    value = metrics.auroc(positive, scores)
    if math.isnan(value):
        return estimate(value, len(case.one), None, "undefined without samples of the class and of others")
    spread = metrics.auroc_variance(metrics.auroc_influence(positive, scores), case.groups)
    sides = (_independent(case, side) for side in (positive, ~positive))
    note = case.caution(int(min(positive.sum(), (~positive).sum())))
    return estimate(value, len(case.one), intervals.area(value, spread, *sides), note)


def macro_area(case: Case) -> Estimate:
    """The mean of the classes' areas, with the variance of the mean."""
    one = case.one
    areas, influences = metrics.macro_auroc(one.labels, one.probabilities)
    if not len(areas):
        return estimate(math.nan, len(one), None, "undefined with samples of one class only")
    value = math.fsum(areas) / len(areas)
    rarest = one.labels == np.bincount(one.labels, minlength=1).argmin()
    spread = metrics.auroc_variance(influences, case.groups)
    sides = (max(_independent(case, side), 1) for side in (rarest, ~rarest))
    interval = intervals.area(value, spread, *sides)
    return estimate(value, len(one), interval, case.caution(case.smallest))


def _independent(case: Case, among: npt.NDArray[np.bool_]) -> int:
    """Samples, or where groups are known groups, among some."""
    return int(among.sum()) if case.groups is None else len(np.unique(case.groups[among]))


def precision_area(case: Case, c: int) -> Estimate:
    """Area of one class under the precision-recall curve."""
    positive = int((case.one.labels == c).sum())
    if not positive:
        return estimate(math.nan, len(case.one), None, "undefined without samples of the class")
    return _with_bca(case, bootstrap.auprc_of(case.one, c), None, positive)


@dataclass(frozen=True)
class Scores:
    """What a model achieved; what n = 0 leaves undefined has the value None (JSON has no NaN).

    Attributes:
        n: Samples.
        groups: Groups that they come from; None where none are known.
        loss: Mean log loss in nats.
        accuracy: Share of samples classified right.
        balanced_accuracy: Mean recall of the classes that occur.
        mcc: Matthews' correlation coefficient, -1 to 1; 0 for a guess.
        macro_f1: Mean F1 of the classes that occur or are predicted.
        auroc: Mean over the classes of the area under the ROC curve, each class against the others.
        auprc: The same of the area under the precision-recall curve; a guess has 1 / C.
        brier: Mean squared distance of the probabilities from the truth, 0 to 2.
        ece: Expected calibration error, with its null band.
        prevalence: By class name, its share of the samples: what a guess has as class_auprc.
        recall: Share found of the samples of each class; its sensitivity.
        precision: Share right of the samples said to be of each class.
        specificity: Share of the samples of other classes that are not said to be of it.
        class_auroc: Area under the ROC curve of each class against the others.
        class_auprc: Area under its precision-recall curve.
    """

    n: int
    groups: int | None
    loss: Estimate
    accuracy: Estimate
    balanced_accuracy: Estimate
    mcc: Estimate
    macro_f1: Estimate
    auroc: Estimate
    auprc: Estimate
    brier: Estimate
    ece: CalibrationError
    prevalence: dict[str, Estimate]
    recall: dict[str, Estimate]
    precision: dict[str, Estimate]
    specificity: dict[str, Estimate]
    class_auroc: dict[str, Estimate]
    class_auprc: dict[str, Estimate]

    def to_dict(self) -> dict[str, object]:
        """Plain dicts and numbers, ready for JSON."""
        return asdict(self)


def evaluate(predictions: Predictions, groups: Mapping[str, str] = {}) -> Scores:
    """Score one model's predictions.

    Args:
        predictions: Of any samples.
        groups: By sample id; where they are known, intervals are those of drawing groups.
    """
    case = case_of(predictions, groups)
    one = case.one
    right = one.labels == one.predicted
    each = {name: (one.labels == c, one.predicted == c) for c, name in enumerate(one.class_names)}
    everything = np.ones(len(one), bool)
    return Scores(
        n=len(one),
        groups=None if case.groups is None else len(np.unique(case.groups)),
        loss=resampled(case, "loss", metrics.log_loss(one.labels, one.probabilities)),
        accuracy=proportion(case, right, everything),
        balanced_accuracy=balanced(case),
        mcc=resampled(case, "mcc", float(metrics.mcc(matrix(one)))),
        macro_f1=resampled(case, "macro_f1", float(metrics.macro_f1(matrix(one)))),
        auroc=macro_area(case),
        auprc=resampled(case, "auprc"),
        brier=resampled(case, "brier", metrics.brier(one.labels, one.probabilities)),
        ece=calibration_error(one),
        prevalence={name: proportion(case, true, everything) for name, (true, _) in each.items()},
        recall={name: proportion(case, right, true) for name, (true, _) in each.items()},
        precision={name: proportion(case, right, said) for name, (_, said) in each.items()},
        specificity={name: proportion(case, ~said, ~true) for name, (true, said) in each.items()},
        class_auroc={name: area(case, c) for c, name in enumerate(one.class_names)},
        class_auprc={name: precision_area(case, c) for c, name in enumerate(one.class_names)},
    )
