"""Points of curves that judge how one class is told from the rest."""

import numpy as np
import numpy.typing as npt

from tumorboard.predictions import Predictions

Points = npt.NDArray[np.float64]


def roc(predictions: Predictions, c: int) -> tuple[Points, Points] | None:
    """False and true positive rate of class index c against the rest, both 0 to 1 from (0, 0) to (1, 1).

    Equal probabilities make one step. None if all samples, or no sample, are of the class.
    """
    positives, negatives = _cumulated(predictions, c)
    if not positives[-1] or not negatives[-1]:
        return None
    return negatives / negatives[-1], positives / positives[-1]


def precision_recall(predictions: Predictions, c: int) -> tuple[Points, Points] | None:
    """Recall and precision of class index c, from the most confident samples on; None without the class."""
    positives, negatives = _cumulated(predictions, c)
    if not positives[-1]:
        return None
    found = positives[1:]
    return found / positives[-1], found / (found + negatives[1:])


def _cumulated(predictions: Predictions, c: int) -> tuple[Points, Points]:
    """Positives and negatives at or above each distinct probability, the highest first; both begin at 0."""
    scores, inverse = np.unique(-predictions.probabilities[:, c], return_inverse=True)
    positive = predictions.labels == c
    both = (np.bincount(inverse[mask], minlength=len(scores)) for mask in (positive, ~positive))
    first, second = (np.concatenate([[0.0], np.cumsum(counts)]) for counts in both)
    return first, second
