"""Which model to recommend, from validation alone, and three scores that describe each model."""

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
    """Three scores that describe a model. They contain test figures: choose nothing by them.

    Attributes:
        balance: 1 - the largest difference between any two of the train, validation and test accuracies.
        average: The mean of the three.
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
        within_noise: Whether the difference in validation accuracy is not significant (p >= `SIGNIFICANCE`).
        reason: The choice and its figures as two sentences.
    """

    model: str
    runner_up: str | None
    p_value: float | None
    within_noise: bool
    reason: str


def description_scores(
    train_accuracy: float, valid_accuracy: float, test_accuracy: float
) -> DescriptionScores:
    """Return balance, average and composite of three accuracies, each 0 to 1."""
    accuracies = (train_accuracy, valid_accuracy, test_accuracy)
    balance = 1 - (max(accuracies) - min(accuracies))
    average = math.fsum(accuracies) / 3
    return DescriptionScores(balance, average, 0.5 * balance + 0.5 * average)


def recommend(valid: Mapping[str, Predictions], groups: Mapping[str, str] = {}) -> Recommendation:
    """Choose the lowest log loss among the models whose accuracy is not significantly below the highest.

    A difference in accuracy that `accuracy_test` finds not significant chooses nothing; log loss uses the
    confidence of every prediction and is more stable on few images. Of equal ones, the first in `valid`.

    Args:
        valid: Validation predictions by model.
        groups: Group by sample id, where groups are known.

    Raises:
        DataError: No model, no validation images, or the models were not given the same ones.
    """
    if not valid or not all(len(predictions) for predictions in valid.values()):
        raise DataError("expected validation predictions of at least one model to recommend from, found none")
    models = dict(zip(valid, aligned(*valid.values(), names=list(valid)), strict=True))
    best = _best(models, groups)
    others = {name: predictions for name, predictions in models.items() if name != best}
    if not others:
        return Recommendation(best, None, None, False, f"{best} is the only model.")
    second = _best(others, groups)
    test, p = accuracy_test(models[best], models[second], groups)
    figures = [
        f"{_n_correct(model)} of {len(model)} correct, log loss "
        f"{metrics.log_loss(model.labels, model.probabilities):.3f}"
        for model in (models[best], models[second])
    ]
    significant = "statistically significant" if p < SIGNIFICANCE else "not statistically significant"
    reason = (
        f"{best} has the lowest log loss on validation among the models whose accuracy is not "
        f"significantly below the highest ({figures[0]}; {second}: {figures[1]}). "
        f"The difference in accuracy is {significant} ({test}, p = {p:.2g})."
    )
    return Recommendation(best, second, p, p >= SIGNIFICANCE, reason)


def most_accurate(models: Mapping[str, Predictions]) -> str:
    """Return the model of lowest log loss among those within one image of the highest accuracy.

    For hundreds of images; with few, accuracy is too coarse: see `recommend`.
    """
    most = max(map(_n_correct, models.values()))
    return _lowest_loss({name: model for name, model in models.items() if _n_correct(model) >= most - 1})


def _best(models: Mapping[str, Predictions], groups: Mapping[str, str]) -> str:
    top = max(models.values(), key=_n_correct)
    return _lowest_loss(
        {
            name: model
            for name, model in models.items()
            if accuracy_test(top, model, groups)[1] >= SIGNIFICANCE
        }
    )


def _lowest_loss(models: Mapping[str, Predictions]) -> str:
    return min(models, key=lambda name: metrics.log_loss(models[name].labels, models[name].probabilities))


def _n_correct(predictions: Predictions) -> int:
    return int(np.sum(predictions.predicted == predictions.labels))
