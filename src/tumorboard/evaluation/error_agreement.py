"""Whether models err on the same samples, which decides if combining them can help."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tumorboard.predictions import Predictions, aligned


@dataclass(frozen=True)
class ErrorAgreement:
    """How the errors of two models on the same n samples agree.

    Attributes:
        n: Samples.
        both: Number that both models classify correctly.
        only_first: Number that only the first classifies correctly.
        only_second: Number that only the second classifies correctly.
        neither: Number that neither classifies correctly.
        same_prediction: Number for which both predict the same class, correct or not.
        correlation: Of their errors (phi), -1 to 1; None if a model is always or never correct.
    """

    n: int
    both: int
    only_first: int
    only_second: int
    neither: int
    same_prediction: int
    correlation: float | None


def compare_errors(first: Predictions, second: Predictions) -> ErrorAgreement:
    """Count on which samples two models err.

    Raises:
        DataError: The models were given other samples or classes.
    """
    first, second = aligned(first, second)
    a, b = first.predicted == first.labels, second.predicted == second.labels
    both, only_a, only_b, neither = (int(np.sum(m)) for m in (a & b, a & ~b, ~a & b, ~a & ~b))
    spread = math.sqrt((both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither))
    phi = (both * neither - only_a * only_b) / spread if spread else None
    same = int(np.sum(first.predicted == second.predicted))
    return ErrorAgreement(len(first), both, only_a, only_b, neither, same, phi)


def correct_by_any(models: Mapping[str, Predictions]) -> int:
    """Count the samples that at least one model classifies correctly: no choice among models does better."""
    same = aligned(*models.values(), names=list(models))
    correct = np.stack([predictions.predicted == predictions.labels for predictions in same])
    return int(np.any(correct, axis=0).sum())


def disagreement(models: Mapping[str, Predictions]) -> npt.NDArray[np.float64]:
    """Return the (N,) Jensen-Shannon divergence of the models' predictions of each sample, in nats, >= 0.

    Rows are in the order of the first model's ids.
    """
    same = aligned(*models.values(), names=list(models))
    probabilities = np.stack([predictions.probabilities for predictions in same])
    divergence = _entropy(probabilities.mean(axis=0)) - _entropy(probabilities).mean(axis=0)
    return np.maximum(np.asarray(divergence, dtype=np.float64), 0.0)


def _entropy(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    logs = np.log(np.where(probabilities > 0, probabilities, 1.0))
    return np.asarray(-(probabilities * logs).sum(axis=-1), dtype=np.float64)
