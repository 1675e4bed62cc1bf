"""The scores of one model on one split, each with its number of samples, proportions with their interval."""

import math
from dataclasses import asdict, dataclass

from tumorboard.evaluation import metrics
from tumorboard.evaluation.intervals import wilson
from tumorboard.predictions import Predictions


@dataclass(frozen=True)
class Proportion:
    """`value` = successes / n with its 95 % Wilson interval; `value` is None where n is 0."""

    value: float | None
    n: int
    low: float
    high: float


@dataclass(frozen=True)
class Scores:
    """What a model achieved on one split; None stands for what n = 0 leaves undefined (JSON has no NaN).

    Attributes:
        n: Samples.
        loss: Mean log loss in nats.
        accuracy: Share of samples classified right.
        balanced_accuracy: Mean recall of the classes that occur.
        recall: Share classified right of the samples of each class, by class name.
    """

    n: int
    loss: float | None
    accuracy: Proportion
    balanced_accuracy: float | None
    recall: dict[str, Proportion]

    def to_dict(self) -> dict[str, object]:
        """Plain dicts and numbers, ready for JSON."""
        return asdict(self)


def evaluate(predictions: Predictions) -> Scores:
    """Score one model's predictions."""
    labels, predicted = predictions.labels, predictions.predicted
    counts = metrics.confusion_matrix(labels, predicted, len(predictions.class_names))
    return Scores(
        n=len(predictions),
        loss=_defined(metrics.log_loss(labels, predictions.probabilities)),
        accuracy=_proportion(int(counts.trace()), len(predictions)),
        balanced_accuracy=_defined(metrics.balanced_accuracy(labels, predicted)),
        recall={
            name: _proportion(int(row[c]), int(row.sum()))
            for c, (name, row) in enumerate(zip(predictions.class_names, counts, strict=True))
        },
    )


def _proportion(successes: int, n: int) -> Proportion:
    return Proportion(successes / n if n else None, n, *wilson(successes, n))


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value
