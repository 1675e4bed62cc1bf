"""The weights of a weighted average, chosen on validation."""

import itertools
from collections.abc import Sequence

import numpy as np

from tumorboard.errors import UsageError
from tumorboard.evaluation.metrics import accuracy, log_loss
from tumorboard.predictions import Predictions, aligned

_LIMIT = 50_000  # combinations tried at most; the steps get coarser for many members


def choose(valid: Sequence[Predictions]) -> tuple[float, ...]:
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
