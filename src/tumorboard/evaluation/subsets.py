"""The same predictions on fewer samples."""

from collections.abc import Collection

import numpy as np

from tumorboard.predictions import Predictions


def keep(predictions: Predictions, ids: Collection[str]) -> Predictions:
    """The samples of these ids, in the order they have; ids that do not occur are ignored."""
    wanted = set(ids)
    rows = np.flatnonzero([one in wanted for one in predictions.ids])
    kept = tuple(predictions.ids[row] for row in rows)
    return Predictions(
        kept, predictions.labels[rows], predictions.class_names, predictions.probabilities[rows]
    )
