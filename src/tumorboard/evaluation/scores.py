"""All metrics of one model's predictions, each with its n and its 95% interval."""

import functools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from tumorboard.evaluation import bootstrap, intervals, metrics
from tumorboard.evaluation.bootstrap import Indices, Resamples, Statistic, bca
from tumorboard.evaluation.calibration import CalibrationError, calibration_error
from tumorboard.evaluation.intervals import Estimate, estimate
from tumorboard.evaluation.metrics import Flags
from tumorboard.predictions import Predictions

FEW_OF_A_CLASS = 10
"""With fewer, intervals of averages over classes cover less than 95%; see docs/evaluation.md."""
FEW_GROUPS = 50
"""The same for groups."""
UNRELIABLE = f"interval unreliable: a class has fewer than {FEW_OF_A_CLASS} samples"
UNRELIABLE_GROUPS = f"interval unreliable: fewer than {FEW_GROUPS} groups"
REFUSED = "no interval: resampling these samples changes nothing, or leaves it undefined"


@dataclass(frozen=True)
class Scores:
    """What a model achieved; what n = 0 leaves undefined has the value None (JSON has no NaN).

    Attributes:
        n: Samples.
        groups: Groups that they come from; None where none are known.
        loss: Mean log loss in nats.
        accuracy: Share of samples classified correctly.
        balanced_accuracy: Mean recall of the classes that occur.
        mcc: Matthews' correlation coefficient, -1 to 1; 0 for a constant prediction.
        macro_f1: Mean F1 of the classes that occur or are predicted.
        auroc: Mean over the classes of the area under the ROC curve, each class against the rest.
        auprc: The same of the area under the precision-recall curve; an uninformative model has 1 / C.
        brier: Mean squared distance of the probabilities from the one-hot labels, 0 to 2.
        ece: Expected calibration error, with its null band.
        prevalence: By class name, its share of the samples: the class_auprc of an uninformative model.
        recall: Share of the samples of each class that are predicted to be of it; its sensitivity.
        precision: Share of the samples predicted to be of each class that are of it.
        specificity: Share of the samples of other classes that are not predicted to be of it.
        class_auroc: Area under the ROC curve of each class against the rest.
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
        """Return plain dicts and numbers, ready for JSON."""
        return asdict(self)


def score(predictions: Predictions, groups: Mapping[str, str] = {}) -> Scores:
    """Score one model's predictions.

    Args:
        predictions: Of any samples.
        groups: Group by sample id; where groups are known, intervals take them as the independent units.
    """
    ordered, indices = order_by_id(predictions, groups)
    estimator = IntervalEstimator(ordered, indices)
    labels, predicted, probabilities = ordered.labels, ordered.predicted, ordered.probabilities
    matrix = metrics.confusion_matrix(labels, predicted, len(ordered.class_names))
    classes = {name: (labels == c, predicted == c) for c, name in enumerate(ordered.class_names)}
    everything = np.ones(len(ordered), bool)
    share = estimator.proportion
    return Scores(
        n=len(ordered),
        groups=None if indices is None else len(np.unique(indices)),
        loss=estimator.resampled("loss", metrics.log_loss(labels, probabilities)),
        accuracy=share(labels == predicted, everything),
        balanced_accuracy=estimator.balanced_accuracy(matrix),
        mcc=estimator.resampled("mcc", float(metrics.mcc(matrix))),
        macro_f1=estimator.resampled("macro_f1", float(metrics.macro_f1(matrix))),
        auroc=estimator.macro_auroc(),
        auprc=estimator.resampled("auprc"),
        brier=estimator.resampled("brier", metrics.brier(labels, probabilities)),
        ece=calibration_error(ordered, indices),
        prevalence={name: share(actual, everything) for name, (actual, _) in classes.items()},
        recall={name: share(assigned, actual) for name, (actual, assigned) in classes.items()},
        precision={name: share(actual, assigned) for name, (actual, assigned) in classes.items()},
        specificity={name: share(~assigned, ~actual) for name, (actual, assigned) in classes.items()},
        class_auroc={name: estimator.auroc(c) for c, name in enumerate(ordered.class_names)},
        class_auprc={name: estimator.auprc(c) for c, name in enumerate(ordered.class_names)},
    )


def order_by_id(predictions: Predictions, groups: Mapping[str, str]) -> tuple[Predictions, Indices | None]:
    """Return the samples in the order of their ids, so that no figure depends on the order of the rows.

    Returns:
        The predictions, and the `group_indices` of their ids.
    """
    order = sorted(range(len(predictions)), key=lambda row: predictions.ids[row])
    ordered = predictions.take(np.array(order, np.int64))
    return ordered, group_indices(ordered.ids, groups)


def group_indices(ids: tuple[str, ...], groups: Mapping[str, str]) -> Indices | None:
    """Return (N,) the index of each sample's group; None if no sample has one.

    A sample without a group, or with an empty one, is a group of its own.
    """
    keys = [("group", groups[sample]) if groups.get(sample) else ("alone", sample) for sample in ids]
    index = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    if not any(kind == "group" for kind, _ in index):
        return None
    return np.array([index[key] for key in keys], np.int64)


@dataclass(frozen=True, eq=False)
class IntervalEstimator:
    """Estimates metrics with intervals, of predictions and group indices from `order_by_id`."""

    predictions: Predictions
    groups: Indices | None

    @functools.cached_property
    def resamples(self) -> Resamples:
        """The bootstrap's draws."""
        return Resamples(self.predictions.labels, self.groups)

    @functools.cached_property
    def statistics(self) -> Mapping[str, Statistic]:
        """The metrics that are bootstrapped, by name."""
        return bootstrap.weighted_metrics(self.predictions)

    def resampled(self, metric: str, value: float | None = None) -> Estimate:
        """Estimate a metric of `statistics`; `value` replaces the statistic's own where it is more exact."""
        if not len(self.predictions):
            return estimate(math.nan, 0, None)
        return self._bootstrapped(self.statistics[metric], value, self._smallest_class)

    def proportion(self, hits: Flags, among: Flags) -> Estimate:
        """Estimate the share of hits among some of the samples."""
        return intervals.share(hits[among], None if self.groups is None else self.groups[among])

    def balanced_accuracy(self, matrix: Indices) -> Estimate:
        """Estimate the mean recall from the confusion matrix."""
        recalls = [(int(row[c]), int(row.sum())) for c, row in enumerate(matrix) if row.sum()]
        value = math.fsum(k / n for k, n in recalls) / len(recalls) if recalls else math.nan
        if self.groups is not None:
            return self.resampled("balanced_accuracy", value)
        interval = intervals.mean_of_proportions(recalls) if recalls else None
        return estimate(value, len(self.predictions), interval)

    def auroc(self, c: int) -> Estimate:
        """Estimate the AUROC of class `c` against the rest."""
        positive, scores = self.predictions.labels == c, self.predictions.probabilities[:, c]
        value, n = metrics.auroc(positive, scores), len(positive)
        if math.isnan(value):
            return estimate(value, n, None, "undefined without samples of the class and of others")
        variance = metrics.auroc_variance(metrics.auroc_influence(positive, scores), self.groups)
        interval = intervals.auroc_interval(
            value, variance, self._independent(positive), self._independent(~positive)
        )
        return estimate(value, n, interval, self._caution(int(min(positive.sum(), (~positive).sum()))))

    def macro_auroc(self) -> Estimate:
        """Estimate the mean AUROC over the classes."""
        labels, n = self.predictions.labels, len(self.predictions)
        areas, influences = metrics.macro_auroc(labels, self.predictions.probabilities)
        if not areas:
            return estimate(math.nan, n, None, "undefined with samples of one class only")
        value = math.fsum(areas) / len(areas)
        rarest = labels == np.bincount(labels, minlength=1).argmin()
        sizes = (max(self._independent(side), 1) for side in (rarest, ~rarest))
        variance = metrics.auroc_variance(influences, self.groups)
        interval = intervals.auroc_interval(value, variance, *sizes)
        return estimate(value, n, interval, self._caution(self._smallest_class))

    def auprc(self, c: int) -> Estimate:
        """Estimate the area under the precision-recall curve of class `c`."""
        positives = int((self.predictions.labels == c).sum())
        if not positives:
            n = len(self.predictions)
            return estimate(math.nan, n, None, "undefined without samples of the class")
        return self._bootstrapped(bootstrap.class_auprc(self.predictions, c), None, positives)

    def _bootstrapped(self, statistic: Statistic, value: float | None, smallest_class: int) -> Estimate:
        n = len(self.predictions)
        if value is None:
            value = float(statistic(np.ones((1, n)))[0])
        interval = bca(statistic, self.resamples)
        return estimate(value, n, interval, REFUSED if interval is None else self._caution(smallest_class))

    @property
    def _smallest_class(self) -> int:
        """Samples of the smallest class that occurs."""
        return int(
            np.unique(self.predictions.labels, return_counts=True)[1].min(initial=len(self.predictions))
        )

    def _independent(self, among: Flags) -> int:
        """Number of independent units among some samples: groups, or samples where none are known."""
        return int(among.sum()) if self.groups is None else len(np.unique(self.groups[among]))

    def _caution(self, smallest_class: int) -> str:
        """The note on an interval, from the number of groups and of samples of the smallest class in it."""
        if self.groups is not None and len(np.unique(self.groups)) < FEW_GROUPS:
            return UNRELIABLE_GROUPS
        return UNRELIABLE if smallest_class < FEW_OF_A_CLASS else ""
