"""Whether models err on the same samples: what decides if combining them can help."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tumorboard.predictions import Predictions, aligned


@dataclass(frozen=True)
class Pair:
    """Two models on the same n samples.

    Attributes:
        n: Samples.
        both: Number that both classify right.
        only_first: Number that only the first classifies right.
        only_second: Number that only the second classifies right.
        neither: Number that both classify wrong.
        same_prediction: Number for which both name the same class, right or wrong.
        correlation: Of their errors (phi), -1 to 1; None if a model is always right or always wrong.
    """

    n: int
    both: int
    only_first: int
    only_second: int
    neither: int
    same_prediction: int
    correlation: float | None


def pair(first: Predictions, second: Predictions) -> Pair:
    """Compare two models.

    Raises:
        DataError: They were given other samples or classes.
    """
    first, second = aligned(first, second)
    right, also = first.predicted == first.labels, second.predicted == second.labels
    a, b, c, d = (int(np.sum(m)) for m in (right & also, right & ~also, ~right & also, ~right & ~also))
    spread = math.sqrt((a + b) * (c + d) * (a + c) * (b + d))
    phi = (a * d - b * c) / spread if spread else None
    same = int(np.sum(first.predicted == second.predicted))
    return Pair(len(first), a, b, c, d, same, phi)


def correct_by_any(models: Mapping[str, Predictions]) -> int:
    """Number of samples that at least one model has right: no choice among their answers does better."""
    return int(np.any(_right(models), axis=0).sum())


def disagreement(models: Mapping[str, Predictions]) -> npt.NDArray[np.float64]:
    """(N,) spread of the models' opinions on each sample: mean Jensen-Shannon divergence in nats, 0 or more.

    Rows are in the order of the first model's ids.
    """
    stacked = np.stack([one.probabilities for one in aligned(*models.values(), names=list(models))])
    mixed = stacked.mean(axis=0)
    divergence = np.asarray(_entropy(mixed) - _entropy(stacked).mean(axis=0), dtype=np.float64)
    return np.maximum(divergence, 0.0)


def _right(models: Mapping[str, Predictions]) -> npt.NDArray[np.bool_]:
    same = aligned(*models.values(), names=list(models))
    return np.stack([one.predicted == one.labels for one in same])


def _entropy(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    logs = np.log(np.where(probabilities > 0, probabilities, 1.0))
    return np.asarray(-(probabilities * logs).sum(axis=-1), dtype=np.float64)
