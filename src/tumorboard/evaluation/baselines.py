"""What can be scored without looking at an image, from the labels of train alone.

Baselines are predictions like any model's, so that the same code scores them.
"""

from collections.abc import Mapping

import numpy as np

from tumorboard.errors import DataError
from tumorboard.predictions import Predictions, Probabilities


def baselines(splits: Mapping[str, Predictions]) -> dict[str, dict[str, Predictions]]:
    """Both baselines on every split, by name and split; `splits` must hold "train".

    Raises:
        DataError: No training samples.
    """
    return {
        name: {split: rule(splits["train"], one) for split, one in splits.items()}
        for name, rule in (("majority class", majority_class), ("class frequencies", class_frequencies))
    }


def majority_class(train: Predictions, split: Predictions) -> Predictions:
    """Always the commonest class of train (of equal ones the first), with probability 1.

    Its log loss is large and only as finite as clipping makes it: it is certain, and often wrong.

    Raises:
        DataError: No training samples.
    """
    return _constant(np.eye(len(train.class_names))[np.argmax(_frequencies(train))], split)


def class_frequencies(train: Predictions, split: Predictions) -> Predictions:
    """Always the class frequencies of train as probabilities: the log loss that a model has to beat.

    Raises:
        DataError: No training samples.
    """
    return _constant(_frequencies(train), split)


def _frequencies(train: Predictions) -> Probabilities:
    if not len(train):
        raise DataError("expected training samples to take class frequencies from, found none")
    counts = np.bincount(train.labels, minlength=len(train.class_names))
    return counts.astype(np.float64) / len(train)


def _constant(row: Probabilities, split: Predictions) -> Predictions:
    return Predictions(split.ids, split.labels, split.class_names, np.tile(row, (len(split), 1)))
