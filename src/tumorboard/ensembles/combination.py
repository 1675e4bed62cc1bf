"""A softmax layer fitted on vectors, as a multinomial logistic regression."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from tumorboard.errors import UsageError
from tumorboard.evaluation.metrics import accuracy, log_loss
from tumorboard.predictions import Predictions, Probabilities, aligned

Array = npt.NDArray[np.float64]

_NEVER = -30.0  # the logit of a class that no label has


def fit_head(
    features: npt.NDArray[np.floating],
    labels: npt.NDArray[np.int64],
    classes: int,
    *,
    C: float = 1.0,
    shares: Array | None = None,
) -> tuple[Array, Array]:
    """Kernel (D, C) and bias (C,) of a softmax layer.

    Args:
        features: (N, D).
        labels: (N,), 0 to classes - 1; two different ones at least.
        classes: The layer's width.
        C: How little the kernel is held to zero, as scikit-learn has it.
        shares: (N,) weights of the rows; by default equal.
    """
    model = LogisticRegression(C=C, max_iter=2000).fit(features, labels, shares)
    kernel, bias = np.zeros((features.shape[1], classes)), np.full(classes, _NEVER)
    if len(model.classes_) == 2:  # scikit-learn gives the second class's logit alone
        kernel[:, model.classes_[1]], bias[model.classes_] = model.coef_[0], (0.0, model.intercept_[0])
    else:
        kernel[:, model.classes_], bias[model.classes_] = model.coef_.T, model.intercept_
    return kernel, bias


_LIMIT = 50_000  # combinations tried at most; the steps get coarser for many members


def choose_weights(valid: Sequence[Predictions]) -> tuple[float, ...]:
    """The weights with the highest validation accuracy; among these, with the lowest log loss.

    All weights on a grid over the simplex are tried, its corners included: on validation the ensemble is
    never less accurate than its best member.

    Raises:
        DataError: The predictions are not of the same samples.
    """
    joined = aligned(*valid)
    labels, stack = joined[0].labels, np.stack([one.probabilities for one in joined])
    if not len(labels):
        raise UsageError("expected validation predictions to choose the weights on, found none")

    def quality(weights: tuple[float, ...]) -> tuple[float, float]:
        mean = np.tensordot(weights, stack, axes=1)
        return accuracy(labels, mean.argmax(axis=1)), -log_loss(labels, mean)

    return max(_grid(len(joined)), key=quality)


def _grid(members: int) -> list[tuple[float, ...]]:
    """All weights in steps of 1/20, 1/19, …: the finest that stays below the limit."""
    for steps in range(20, 0, -1):
        bars = list(
            itertools.islice(itertools.combinations(range(steps + members - 1), members - 1), _LIMIT + 1)
        )
        if len(bars) <= _LIMIT:
            break
    cuts = [(-1, *bar, steps + members - 1) for bar in bars]
    return [tuple((b - a - 1) / steps for a, b in itertools.pairwise(cut)) for cut in cuts]


WEIGHTED_FORMS = frozenset({"weighted", "greedy"})
"""Forms that are an average with weights."""

CANDIDATES = ("mean", "weighted", "greedy", "vote", "stacked")
"""What cross-validation chooses among."""

_ROUNDS = 25  # members drawn by the greedy selection


@dataclass(frozen=True)
class CombinationRule:
    """A rule and what was fitted of it.

    Args:
        form: mean, mirrored, weighted, greedy, vote, stacked or boosted.
        weights: Of an average, one a member; of `boosted`, one a head.
        kernel: Of `stacked`: (members * C, C), the rows in the order of the members; of `boosted`: see there.
        bias: Of `stacked`: (C,).
    """

    form: str
    weights: tuple[float, ...] = ()
    kernel: tuple[tuple[float, ...], ...] = ()
    bias: tuple[float, ...] = ()


def fit_rule(form: str, held_out: Sequence[Predictions]) -> CombinationRule:
    """Fit a rule on predictions of samples that no member was trained on.

    Raises:
        DataError: The predictions are not of the same samples.
        UsageError: There are none.
    """
    if form == "weighted":
        return CombinationRule(form, choose_weights(held_out))
    if form == "greedy":
        return CombinationRule(form, _greedy(held_out))
    if form == "stacked":
        return _stacked(held_out)
    return CombinationRule(form)


def apply_rule(rule: CombinationRule, members: Sequence[Predictions]) -> Predictions:
    """What the rule makes of the members' predictions; rows are joined on ids.

    For `mirrored` these are first the members' and then theirs on the mirror images.
    """
    joined = aligned(*members)
    stack = np.stack([one.probabilities for one in joined])
    first = joined[0]
    return Predictions(first.ids, first.labels, first.class_names, _joined(rule, stack))


def _joined(rule: CombinationRule, stack: npt.NDArray[np.float64]) -> Probabilities:
    if rule.form == "stacked":
        logits = np.concatenate(list(stack), axis=1) @ np.array(rule.kernel) + np.array(rule.bias)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))
    if rule.form == "vote":
        ballots = stack == stack.max(axis=2, keepdims=True)
        return np.asarray((ballots / ballots.sum(axis=2, keepdims=True)).mean(axis=0))
    shares = rule.weights or (1 / len(stack),) * len(stack)
    return np.asarray(np.tensordot(shares, stack, axes=1))


def _greedy(held_out: Sequence[Predictions]) -> tuple[float, ...]:
    """Selection with replacement by log loss (Caruana et al. 2004): how often each member was drawn."""
    joined = aligned(*held_out)
    labels, stack = joined[0].labels, np.stack([one.probabilities for one in joined])
    counts, total = np.zeros(len(stack)), np.zeros_like(stack[0])
    for drawn in range(1, _ROUNDS + 1):
        losses = [log_loss(labels, (total + one) / drawn) for one in stack]
        best = int(np.argmin(losses))
        counts[best] += 1
        total += stack[best]
    return tuple(float(share) for share in counts / counts.sum())


def _stacked(held_out: Sequence[Predictions]) -> CombinationRule:
    """As `concat_dense`, but learnt from held-out answers: on train the members know the labels by heart."""
    joined = aligned(*held_out)
    features = np.concatenate([one.probabilities for one in joined], axis=1)
    kernel, bias = fit_head(features, joined[0].labels, len(joined[0].class_names))
    return CombinationRule("stacked", kernel=tuple(map(tuple, kernel.tolist())), bias=tuple(bias.tolist()))


def cross_fit(form: str, folds: Sequence[Sequence[Predictions]]) -> Predictions:
    """What a rule makes of each fold when it is fitted on all the others.

    Args:
        form: One of `CANDIDATES`.
        folds: For each fold what every member, trained without it, says of it.
    """
    parts = []
    for held_out, members in enumerate(folds):
        others = [fold for number, fold in enumerate(folds) if number != held_out]
        parts.append(apply_rule(fit_rule(form, pool_folds(others)), members))
    return concatenate(parts)


def pool_folds(folds: Sequence[Sequence[Predictions]]) -> list[Predictions]:
    """Each member's predictions over all folds."""
    return [concatenate(parts) for parts in zip(*folds, strict=True)]


def concatenate(parts: Sequence[Predictions]) -> Predictions:
    """Predictions of different samples as one record."""
    return Predictions(
        tuple(name for part in parts for name in part.ids),
        np.concatenate([part.labels for part in parts]),
        parts[0].class_names,
        np.concatenate([part.probabilities for part in parts]),
    )
