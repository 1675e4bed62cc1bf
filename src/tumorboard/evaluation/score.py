"""The scores of one model on one set of samples, each with its n and its 95 % interval."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from tumorboard.evaluation import counts, metrics
from tumorboard.evaluation.calibration import CalibrationError, calibration_error
from tumorboard.evaluation.figures import (
    area,
    balanced,
    case_of,
    macro_area,
    matrix,
    precision_area,
    proportion,
    resampled,
)
from tumorboard.evaluation.measure import Measure
from tumorboard.predictions import Predictions


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
    loss: Measure
    accuracy: Measure
    balanced_accuracy: Measure
    mcc: Measure
    macro_f1: Measure
    auroc: Measure
    auprc: Measure
    brier: Measure
    ece: CalibrationError
    prevalence: dict[str, Measure]
    recall: dict[str, Measure]
    precision: dict[str, Measure]
    specificity: dict[str, Measure]
    class_auroc: dict[str, Measure]
    class_auprc: dict[str, Measure]

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
        mcc=resampled(case, "mcc", float(counts.mcc(matrix(one)))),
        macro_f1=resampled(case, "macro_f1", float(counts.macro_f1(matrix(one)))),
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
