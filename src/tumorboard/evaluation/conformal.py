"""Prediction sets: all classes that cannot be ruled out, with a promise on how often the true one is in.

Split conformal prediction (J. Lei and others, J. Am. Stat. Assoc. 113 (2018) 1094-1111): a set is right with
probability 1 - alpha at least, and 1 - alpha + 1 / (n + 1) at most if no two scores are alike, on average
over calibration sets of n images that are like the new ones. It is not valid under shift: for images of
another source, scanner or mix of classes it promises nothing.
"""

import math

import numpy as np
import numpy.typing as npt

from tumorboard.evaluation.intervals import Estimate, proportion
from tumorboard.predictions import Predictions, Probabilities

ALPHA = 0.1


def quantile(predictions: Predictions, alpha: float = ALPHA) -> float | None:
    """The largest 1 - p that a class in a prediction set may have, from calibration images.

    Returns:
        The ceil((n + 1)(1 - alpha))-th smallest of 1 - p(true class), 0 to 1; None for n < 1 / alpha - 1,
        which is too few for any promise.
    """
    n = len(predictions)
    rank = math.ceil((n + 1) * (1 - alpha) - 1e-9)  # 1 - 0.1 is a little more than 0.9
    if rank > n:
        return None
    scores = 1 - predictions.probabilities[np.arange(n), predictions.labels]
    return float(np.sort(scores)[rank - 1])


def prediction_set(probabilities: Probabilities, q: float) -> npt.NDArray[np.bool_]:
    """(N, C) whether each class is in the set of each image; a set may be empty.

    Args:
        probabilities: (N, C), tempered as those were that `q` comes from.
        q: From `quantile`.
    """
    return np.asarray(1 - probabilities <= q)


def set_coverage(predictions: Predictions, q: float) -> dict[str, Estimate]:
    """How often the true class is in the set: of all images as "all", then of each class, by name."""
    rows = np.arange(len(predictions))
    inside = prediction_set(predictions.probabilities, q)[rows, predictions.labels]
    parts = {"all": inside}
    for c, name in enumerate(predictions.class_names):
        parts[f"class {name}"] = inside[predictions.labels == c]
    return {name: proportion(int(part.sum()), len(part)) for name, part in parts.items()}
