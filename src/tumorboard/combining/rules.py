"""The ways to join several models' answers, as functions of their predictions alone.

A rule is fitted on answers about images that the members did not learn from: validation, or the held-out
parts of cross-validation. `apply` then joins any predictions; `ensemble.build` makes the same one model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tumorboard.combining import heads, weights
from tumorboard.evaluation.metrics import log_loss
from tumorboard.predictions import Predictions, Probabilities, aligned

AVERAGES = frozenset({"weighted", "greedy"})
"""Forms that are an average with weights."""

CANDIDATES = ("B", "weighted", "greedy", "vote", "stacked")
"""What cross-validation chooses among."""

_ROUNDS = 25  # members drawn by the greedy selection


@dataclass(frozen=True)
class Rule:
    """A rule and what was fitted of it.

    Args:
        form: B, mirrored, weighted, greedy, vote, stacked or boosted.
        weights: Of an average, one a member; of `boosted`, one a head.
        kernel: Of `stacked`: (members * C, C), the rows in the order of the members; of `boosted`: see there.
        bias: Of `stacked`: (C,).
    """

    form: str
    weights: tuple[float, ...] = ()
    kernel: tuple[tuple[float, ...], ...] = ()
    bias: tuple[float, ...] = ()


def fit(form: str, held_out: Sequence[Predictions]) -> Rule:
    """Fit a rule on predictions of samples that no member was trained on.

    Raises:
        DataError: The predictions are not of the same samples.
        UsageError: There are none.
    """
    if form == "weighted":
        return Rule(form, weights.choose(held_out))
    if form == "greedy":
        return Rule(form, _greedy(held_out))
    if form == "stacked":
        return _stacked(held_out)
    return Rule(form)


def apply(rule: Rule, members: Sequence[Predictions]) -> Predictions:
    """What the rule makes of the members' predictions; rows are joined on ids.

    For `mirrored` these are first the members' and then theirs on the mirror images.
    """
    joined = aligned(*members)
    stack = np.stack([one.probabilities for one in joined])
    first = joined[0]
    return Predictions(first.ids, first.labels, first.class_names, _joined(rule, stack))


def _joined(rule: Rule, stack: npt.NDArray[np.float64]) -> Probabilities:
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


def _stacked(held_out: Sequence[Predictions]) -> Rule:
    """The study's form D, but learnt from held-out answers: on train the members know the labels by heart."""
    joined = aligned(*held_out)
    features = np.concatenate([one.probabilities for one in joined], axis=1)
    kernel, bias = heads.fit(features, joined[0].labels, len(joined[0].class_names))
    return Rule("stacked", kernel=tuple(map(tuple, kernel.tolist())), bias=tuple(bias.tolist()))


def cross_fitted(form: str, folds: Sequence[Sequence[Predictions]]) -> Predictions:
    """What a rule makes of each fold when it is fitted on all the others.

    Args:
        form: One of `CANDIDATES`.
        folds: For each fold what every member, trained without it, says of it.
    """
    parts = []
    for held_out, members in enumerate(folds):
        others = [fold for number, fold in enumerate(folds) if number != held_out]
        parts.append(apply(fit(form, pooled(others)), members))
    return together(parts)


def pooled(folds: Sequence[Sequence[Predictions]]) -> list[Predictions]:
    """Each member's predictions over all folds."""
    return [together(parts) for parts in zip(*folds, strict=True)]


def together(parts: Sequence[Predictions]) -> Predictions:
    """Predictions of different samples as one record."""
    return Predictions(
        tuple(name for part in parts for name in part.ids),
        np.concatenate([part.labels for part in parts]),
        parts[0].class_names,
        np.concatenate([part.probabilities for part in parts]),
    )
