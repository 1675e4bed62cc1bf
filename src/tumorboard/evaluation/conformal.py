"""Prediction sets with a guaranteed coverage: all classes that cannot be ruled out.

Split conformal prediction (J. Lei and others, J. Am. Stat. Assoc. 113 (2018) 1094-1111): a set holds the true
class with probability 1 - alpha at least, and 1 - alpha + 1 / (n + 1) at most if no two scores are alike, on
average over calibration sets of n images that are exchangeable with the new ones. The guarantee does not hold
under distribution shift: another source, scanner or mix of classes.
"""

import math

import numpy as np
import numpy.typing as npt

from tumorboard.evaluation.calibration import Groups
from tumorboard.evaluation.intervals import Estimate, share
from tumorboard.predictions import Predictions, Probabilities

ALPHA = 0.1


def upper_quantile(scores: npt.ArrayLike, alpha: float) -> float | None:
    """Return the score that a new one exceeds with probability alpha at most, from n scores of the same kind.

    Returns:
        The ceil((n + 1)(1 - alpha))-th smallest score; None for n < 1 / alpha - 1, which is too few.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    rank = math.ceil((len(ordered) + 1) * (1 - alpha) - 1e-9)  # 1 - 0.1 is a little more than 0.9
    return float(ordered[rank - 1]) if rank <= len(ordered) else None


def quantile(predictions: Predictions, alpha: float = ALPHA) -> float | None:
    """Return the largest 1 - p that a class in a prediction set may have, from calibration images.

    Returns:
        The `upper_quantile` of 1 - p(true class), 0 to 1; None with too few images for a guarantee.
    """
    return upper_quantile(
        1 - predictions.probabilities[np.arange(len(predictions)), predictions.labels], alpha
    )


def prediction_set(probabilities: Probabilities, q: float) -> npt.NDArray[np.bool_]:
    """Return (N, C) whether each class is in the set of each image; a set may be empty.

    Args:
        probabilities: (N, C), at the temperature of those that `q` comes from.
        q: From `quantile`.
    """
    return np.asarray(1 - probabilities <= q)


def set_coverage(predictions: Predictions, q: float, groups: Groups = None) -> dict[str, Estimate]:
    """Estimate how often the true class is in the set: of all images ("all") and of each ("class NAME").

    Args:
        predictions: Of N images, at the temperature of those that `q` comes from.
        q: From `quantile`.
        groups: (N,) group (patient) of each image, of which the intervals are; None if none are known.
    """
    rows = np.arange(len(predictions))
    covered = prediction_set(predictions.probabilities, q)[rows, predictions.labels]
    parts = {"all": predictions.labels >= 0}
    for c, name in enumerate(predictions.class_names):
        parts[f"class {name}"] = predictions.labels == c
    return {
        name: share(covered[part], None if groups is None else groups[part]) for name, part in parts.items()
    }
