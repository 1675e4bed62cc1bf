"""What the study says about a model: three descriptive scores, a verdict on its fit, and a recommendation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from tumorboard.errors import DataError
from tumorboard.evaluation import metrics
from tumorboard.evaluation.intervals import wilson
from tumorboard.predictions import Predictions, aligned

# A model that leaves more than half of a blind guess's training errors has not learnt its training data.
UNDERFIT_SHARE = 0.5
# A smaller loss of accuracy from train to validation is of no practical weight, however many images show it.
OVERFIT_GAP = 0.05
# In nats: the typical probability of the true class falls by a quarter (exp(-0.3) = 0.74) from train on.
OVERCONFIDENT_GAP = 0.3
SIGNIFICANCE = 0.05
# Below it a gap's interval cries wolf up to 14 % of the time (computed), from it on 4 %; it should be 2.5 %.
FEW_IMAGES = 30


@dataclass(frozen=True)
class StudyScores:
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
        p_value: Exact McNemar test of the two on the validation images; None without a runner-up.
        within_noise: Whether validation cannot tell the two apart (p >= `SIGNIFICANCE`).
        reason: All of it in words.
    """

    model: str
    runner_up: str | None
    p_value: float | None
    within_noise: bool
    reason: str


def study_scores(train_accuracy: float, valid_accuracy: float, test_accuracy: float) -> StudyScores:
    """The study's scores from three accuracies, each 0 to 1; they contain test figures, so describe only."""
    accuracies = (train_accuracy, valid_accuracy, test_accuracy)
    balance = 1 - (max(accuracies) - min(accuracies))
    average = math.fsum(accuracies) / 3
    return StudyScores(balance, average, 0.5 * balance + 0.5 * average)


def verdict(
    train_loss: float,
    train_accuracy: float,
    valid_loss: float,
    valid_accuracy: float,
    n_train: int,
    n_valid: int,
    baseline_accuracy: float,
) -> str:
    """Over- or underfitting in plain words, from train and validation alone.

    Args:
        train_loss: Mean log loss in nats; `valid_loss` likewise.
        train_accuracy: 0 to 1; `valid_accuracy` likewise.
        valid_loss: See `train_loss`.
        valid_accuracy: See `train_accuracy`.
        n_train: Training images.
        n_valid: Validation images; their noise decides what can be said.
        baseline_accuracy: Share of the majority class in train, 0 to 1.
    """
    if not n_train or not n_valid:
        return "Cannot be judged: no images in train or validation."
    parts = [
        _fit(train_accuracy, n_train, baseline_accuracy),
        _gap(train_accuracy, n_train, valid_accuracy, n_valid),
    ]
    if valid_loss - train_loss >= OVERCONFIDENT_GAP:
        rise = f"from {train_loss:.2f} to {valid_loss:.2f}"
        parts.append(f"The loss rises {rise}: it is too sure of itself on new images.")
    return " ".join(part for part in parts if part)


def _fit(accuracy: float, n: int, baseline: float) -> str:
    low, _ = wilson(round(accuracy * n), n)
    found = f"{accuracy:.1%} of train right, {baseline:.1%} by always guessing the commonest class"
    if low <= baseline < 1:
        return f"Underfitting: no better than a guess on its own training images ({found})."
    if accuracy < baseline + UNDERFIT_SHARE * (1 - baseline):
        return f"Underfitting: leaves most of a guess's errors on its own training images ({found})."
    return ""


def _gap(train: float, n_train: int, valid: float, n_valid: int) -> str:
    gap, (low, high) = train - valid, gap_interval(train, n_train, valid, n_valid)
    found = (
        f"train minus validation accuracy is {_points(gap)} points "
        f"({_points(low)} to {_points(high)} at 95 %, {n_valid} validation images)"
    )
    if n_valid < FEW_IMAGES:
        return f"Overfitting cannot be judged on so few images: {found}."
    if low <= 0 <= high:
        return f"No overfitting shown: {found}, which is within noise."
    if gap < 0:
        return f"No overfitting: {found}; validation may be the easier part."
    if gap < OVERFIT_GAP:
        return f"Hardly any overfitting: {found}, more than noise but little."
    return f"Overfitting: {found}, more than noise."


def gap_interval(train: float, n_train: int, valid: float, n_valid: int) -> tuple[float, float]:
    """95 % interval of the difference of two independent proportions, train - valid.

    Newcombe's hybrid score interval (method 10 of R. G. Newcombe, Stat. Med. 17 (1998) 873-890):
    56/70 - 48/80 gives (0.0524, 0.3339).
    """
    low_t, high_t = wilson(round(train * n_train), n_train)
    low_v, high_v = wilson(round(valid * n_valid), n_valid)
    gap = train - valid
    return gap - math.hypot(train - low_t, high_v - valid), gap + math.hypot(high_t - train, valid - low_v)


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


def recommend(valid: Mapping[str, Predictions]) -> Recommendation:
    """Of the models that validation cannot tell from the most accurate one, that of lowest log loss.

    A difference in accuracy that McNemar's test calls noise chooses nothing; log loss sees how sure every
    answer was, and is the steadier judge of few images. It takes each model's validation predictions and
    nothing else. Equal in both: the first in `valid`.

    Raises:
        DataError: No model, no validation images, or the models were not given the same ones.
    """
    if not valid or not all(len(one) for one in valid.values()):
        raise DataError("expected validation predictions of at least one model to recommend from, found none")
    models = dict(zip(valid, aligned(*valid.values(), names=list(valid)), strict=True))
    best = _best(models)
    others = {name: one for name, one in models.items() if name != best}
    if not others:
        return Recommendation(best, None, None, False, f"{best} is the only model.")
    second = _best(others)
    p = mcnemar(models[best], models[second])
    reason = _reason(best, second, models, p)
    return Recommendation(best, second, p, p >= SIGNIFICANCE, reason)


def mcnemar(first: Predictions, second: Predictions) -> float:
    """Two-sided p of McNemar's exact test that two models err equally often on the same samples.

    Q. McNemar, Psychometrika 12 (1947) 153-157, with the binomial distribution. No sample that only one
    of them has right gives 1.

    Raises:
        DataError: Not the same samples.
    """
    first, second = aligned(first, second)
    right, also = first.predicted == first.labels, second.predicted == second.labels
    lone, differing = int(np.sum(right & ~also)), int(np.sum(right != also))
    return float(binomtest(lone, differing).pvalue) if differing else 1.0


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


def _best(models: Mapping[str, Predictions]) -> str:
    top = max(models.values(), key=_right)
    return _lowest_loss({name: one for name, one in models.items() if mcnemar(top, one) >= SIGNIFICANCE})


def _reason(best: str, second: str, models: Mapping[str, Predictions], p: float) -> str:
    n, right, also = len(models[best]), _right(models[best]), _right(models[second])
    loss, others = (metrics.log_loss(models[m].labels, models[m].probabilities) for m in (best, second))
    noise = "within noise: another sample may turn it round" if p >= SIGNIFICANCE else "more than noise"
    return (
        f"{best} has the lowest log loss on validation of the models whose accuracy is not clearly below the "
        f"highest ({right} of {n} right, log loss {loss:.3f}; {second}: {also} of {n}, {others:.3f}). "
        f"The difference in accuracy is {noise} (exact McNemar test, p = {p:.2g})."
    )
