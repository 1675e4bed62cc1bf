"""Combination of the members' predictions: fitting, applying and cross-fitting a rule, on arrays alone."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tumorboard.errors import UsageError
from tumorboard.evaluation.metrics import accuracy, log_loss
from tumorboard.predictions import Predictions, aligned

Array = npt.NDArray[np.float64]

WEIGHTED_FORMS = frozenset({"weighted", "greedy"})
"""Forms that are a weighted average."""

CANDIDATES = ("mean", "weighted", "greedy", "vote", "stacked")
"""Forms among which cross-validation chooses."""

_ABSENT_LOGIT = -30.0  # of a class without any label
_MAX_COMBINATIONS = 50_000  # of weights that are tried; the steps get coarser for many members
_GREEDY_ROUNDS = 25  # members drawn by the greedy selection


@dataclass(frozen=True)
class CombinationRule:
    """How the members' predictions are combined, and the fitted parameters.

    Args:
        form: One of the forms of `config.Ensemble`.
        weights: Of a weighted average, one per member; of `boosted`, one per head.
        kernel: Of `stacked`, (members * C, C), its rows in the order of the members; of `boosted`, see
            `boosting.fit`.
        bias: Of `stacked`, (C,); of `boosted`, see `boosting.fit`.
    """

    form: str
    weights: tuple[float, ...] = ()
    kernel: tuple[tuple[float, ...], ...] = ()
    bias: tuple[float, ...] = ()


def fit_rule(form: str, held_out: Sequence[Predictions]) -> CombinationRule:
    """Fit a rule on the members' predictions for samples that no member was trained on.

    Raises:
        DataError: The predictions are not of the same samples.
        UsageError: There are no predictions.
    """
    if form == "weighted":
        return CombinationRule(form, choose_weights(held_out))
    if form not in {"greedy", "stacked"}:
        return CombinationRule(form)
    members = aligned(*held_out)
    labels, classes = members[0].labels, len(members[0].class_names)
    if form == "stacked":  # `concat_dense` learns from train, where members predict what they have memorised
        features = np.concatenate([member.probabilities for member in members], axis=1)
        kernel, bias = fit_softmax(features, labels, classes)
        return CombinationRule(form, kernel=tuple(map(tuple, kernel.tolist())), bias=tuple(bias.tolist()))
    # Greedy selection with replacement by log loss (Caruana et al. 2004); a weight is the share of the draws.
    stack = np.stack([member.probabilities for member in members])
    counts, total = np.zeros(len(stack)), np.zeros_like(stack[0])
    for draws in range(1, _GREEDY_ROUNDS + 1):
        losses = [log_loss(labels, (total + probabilities) / draws) for probabilities in stack]
        best = int(np.argmin(losses))
        counts[best] += 1
        total += stack[best]
    return CombinationRule(form, tuple(float(share) for share in counts / counts.sum()))


def choose_weights(valid: Sequence[Predictions]) -> tuple[float, ...]:
    """Choose the weights of highest validation accuracy; among these, those of lowest log loss.

    A grid over the simplex is searched, corners included: on validation the ensemble is never less accurate
    than its best member. Its steps are 1/20, 1/19, ...: the finest that stay below the limit of combinations.

    Raises:
        DataError: The predictions are not of the same samples.
        UsageError: There are no predictions.
    """
    members = aligned(*valid)
    labels, stack = members[0].labels, np.stack([member.probabilities for member in members])
    if not len(labels):
        raise UsageError("expected validation predictions to choose the weights on, found none")
    for steps in range(20, 0, -1):
        positions = itertools.combinations(range(steps + len(members) - 1), len(members) - 1)
        bars = list(itertools.islice(positions, _MAX_COMBINATIONS + 1))
        if len(bars) <= _MAX_COMBINATIONS:
            break
    cuts = [(-1, *bar, steps + len(members) - 1) for bar in bars]
    grid = [tuple((b - a - 1) / steps for a, b in itertools.pairwise(cut)) for cut in cuts]

    def quality(weights: tuple[float, ...]) -> tuple[float, float]:
        mean = np.tensordot(weights, stack, axes=1)
        return accuracy(labels, mean.argmax(axis=1)), -log_loss(labels, mean)

    return max(grid, key=quality)


def fit_softmax(
    features: npt.NDArray[np.floating],
    labels: npt.NDArray[np.int64],
    classes: int,
    *,
    C: float = 1.0,
    sample_weights: Array | None = None,
) -> tuple[Array, Array]:
    """Fit a softmax layer as a multinomial logistic regression.

    Args:
        features: (N, D).
        labels: (N,), 0 to classes - 1; at least two different ones.
        classes: The width of the layer.
        C: Inverse strength of the regularization, as in scikit-learn.
        sample_weights: (N,) weights of the rows; equal by default.

    Returns:
        Kernel (D, classes) and bias (classes,).
    """
    from sklearn.linear_model import LogisticRegression  # a second to import

    model = LogisticRegression(C=C, max_iter=2000).fit(features, labels, sample_weights)
    kernel, bias = np.zeros((features.shape[1], classes)), np.full(classes, _ABSENT_LOGIT)
    if len(model.classes_) == 2:  # scikit-learn has the second class's logit only
        kernel[:, model.classes_[1]], bias[model.classes_] = model.coef_[0], (0.0, model.intercept_[0])
    else:
        kernel[:, model.classes_], bias[model.classes_] = model.coef_.T, model.intercept_
    return kernel, bias


def apply_rule(rule: CombinationRule, members: Sequence[Predictions]) -> Predictions:
    """Combine the members' predictions; rows are joined by id.

    For `mirrored`, `members` are the members' predictions for the images, then those for the mirror images.
    """
    joined = aligned(*members)
    stack, first = np.stack([member.probabilities for member in joined]), joined[0]
    if rule.form == "stacked":
        logits = np.concatenate(list(stack), axis=1) @ np.array(rule.kernel) + np.array(rule.bias)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        combined = powers / powers.sum(axis=1, keepdims=True)
    elif rule.form == "vote":
        votes = stack == stack.max(axis=2, keepdims=True)
        combined = (votes / votes.sum(axis=2, keepdims=True)).mean(axis=0)
    else:
        weights = rule.weights or (1 / len(stack),) * len(stack)
        combined = np.tensordot(weights, stack, axes=1)
    return Predictions(first.ids, first.labels, first.class_names, np.asarray(combined))


def cross_fit(form: str, folds: Sequence[Sequence[Predictions]]) -> Predictions:
    """Predict each fold by a rule that is fitted on all the others.

    Args:
        form: One of `CANDIDATES`, or "mirrored".
        folds: Per fold, the predictions of every member, which was trained without the fold.
    """
    parts = []
    for held_out, members in enumerate(folds):
        others = [fold for number, fold in enumerate(folds) if number != held_out]
        parts.append(apply_rule(fit_rule(form, pool_folds(others)), members))
    return concatenate(parts)


def pool_folds(folds: Sequence[Sequence[Predictions]]) -> list[Predictions]:
    """Concatenate each member's predictions over all folds."""
    return [concatenate(parts) for parts in zip(*folds, strict=True)]


def concatenate(parts: Sequence[Predictions]) -> Predictions:
    """Concatenate predictions for different samples."""
    return Predictions(
        tuple(name for part in parts for name in part.ids),
        np.concatenate([part.labels for part in parts]),
        parts[0].class_names,
        np.concatenate([part.probabilities for part in parts]),
    )
