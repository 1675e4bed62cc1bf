"""What the study says about models: three descriptive scores of each, and which to use."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tumorboard.errors import DataError
from tumorboard.evaluation import metrics
from tumorboard.evaluation.significance import accuracy_test
from tumorboard.predictions import Predictions, aligned

SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class DescriptionScores:
    """The study's own description of a model. It contains test figures: choose nothing by it.

    Attributes:
        balance: 1 - the largest gap between any two of the three accuracies.
        average: Their mean.
        composite: 0.5 balance + 0.5 average.
    """

    balance: float
    average: float
    composite: float


@dataclass(frozen=True)
class Recommendation:
    """The model to use, chosen without test figures.

    Attributes:
        model: Its name.
        runner_up: The next by the same rule; None if there is no other model.
        p_value: Of the test that the two err equally often on validation; None without a runner-up.
        within_noise: Whether validation cannot tell the two apart (p >= `SIGNIFICANCE`).
        reason: All of it in words.
    """

    model: str
    runner_up: str | None
    p_value: float | None
    within_noise: bool
    reason: str


def description_scores(
    train_accuracy: float, valid_accuracy: float, test_accuracy: float
) -> DescriptionScores:
    """The study's scores from three accuracies, each 0 to 1; they contain test figures, so describe only."""
    accuracies = (train_accuracy, valid_accuracy, test_accuracy)
    balance = 1 - (max(accuracies) - min(accuracies))
    average = math.fsum(accuracies) / 3
    return DescriptionScores(balance, average, 0.5 * balance + 0.5 * average)


def recommend(valid: Mapping[str, Predictions], groups: Mapping[str, str] = {}) -> Recommendation:
    """Of the models that validation cannot tell from the most accurate one, that of lowest log loss.

    A difference in accuracy that `accuracy_test` calls noise chooses nothing; log loss sees how sure every
    answer was, and is the steadier judge of few images. It takes each model's validation predictions, and by
    sample id the group where groups are known; nothing else. Equal in both: the first in `valid`.

    Raises:
        DataError: No model, no validation images, or the models were not given the same ones.
    """
    if not valid or not all(len(one) for one in valid.values()):
        raise DataError("expected validation predictions of at least one model to recommend from, found none")
    models = dict(zip(valid, aligned(*valid.values(), names=list(valid)), strict=True))
    best = _best(models, groups)
    others = {name: one for name, one in models.items() if name != best}
    if not others:
        return Recommendation(best, None, None, False, f"{best} is the only model.")
    second = _best(others, groups)
    test, p = accuracy_test(models[best], models[second], groups)
    reason = _reason(best, second, models, test, p)
    return Recommendation(best, second, p, p >= SIGNIFICANCE, reason)


def most_accurate(models: Mapping[str, Predictions]) -> str:
    """The model of highest accuracy; of those within one image of it, that of lowest log loss.

    For judges of hundreds of images; of few, accuracy is too coarse a judge: see `recommend`.
    """
    most = max(map(_right, models.values()))
    return _lowest_loss({name: one for name, one in models.items() if _right(one) >= most - 1})


def _lowest_loss(models: Mapping[str, Predictions]) -> str:
    return min(models, key=lambda name: metrics.log_loss(models[name].labels, models[name].probabilities))


def _right(one: Predictions) -> int:
    return int(np.sum(one.predicted == one.labels))


def _best(models: Mapping[str, Predictions], groups: Mapping[str, str]) -> str:
    top = max(models.values(), key=_right)
    level = {name: accuracy_test(top, one, groups)[1] >= SIGNIFICANCE for name, one in models.items()}
    return _lowest_loss({name: one for name, one in models.items() if level[name]})


def _reason(best: str, second: str, models: Mapping[str, Predictions], test: str, p: float) -> str:
    n, right, also = len(models[best]), _right(models[best]), _right(models[second])
    loss, others = (metrics.log_loss(models[m].labels, models[m].probabilities) for m in (best, second))
    noise = "within noise: another sample may turn it round" if p >= SIGNIFICANCE else "more than noise"
    return (
        f"{best} has the lowest log loss on validation of the models whose accuracy is not clearly below the "
        f"highest ({right} of {n} right, log loss {loss:.3f}; {second}: {also} of {n}, {others:.3f}). "
        f"The difference in accuracy is {noise} ({test}, p = {p:.2g})."
    )
