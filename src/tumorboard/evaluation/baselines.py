"""Predictions that need no image, from the class frequencies of the training labels alone.

They are `Predictions` like any model's, so that the same code scores them.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tumorboard.errors import DataError
from tumorboard.predictions import Predictions, Probabilities


def baselines(splits: Mapping[str, Predictions]) -> dict[str, dict[str, Predictions]]:
    """Return both baselines by name and split; `splits` must hold "train".

    Raises:
        DataError: No training samples.
    """
    return {
        name: {split: baseline(splits["train"], predictions) for split, predictions in splits.items()}
        for name, baseline in (("majority class", majority_class), ("class frequencies", class_frequencies))
    }


def majority_class(train: Predictions, split: Predictions) -> Predictions:
    """Predict the most frequent class of train (the first of equally frequent ones) with probability 1.

    Its log loss is large, and finite only because probabilities are clipped.

    Raises:
        DataError: No training samples.
    """
    majority = np.eye(len(train.class_names))[np.argmax(_frequencies(train))]
    return replace(split, probabilities=np.tile(majority, (len(split), 1)))


def class_frequencies(train: Predictions, split: Predictions) -> Predictions:
    """Predict the class frequencies of train as probabilities: the log loss that a model has to beat.

    Raises:
        DataError: No training samples.
    """
    return replace(split, probabilities=np.tile(_frequencies(train), (len(split), 1)))


def _frequencies(train: Predictions) -> Probabilities:
    if not len(train):
        raise DataError("expected training samples to take class frequencies from, found none")
    counts = np.bincount(train.labels, minlength=len(train.class_names))
    return counts.astype(np.float64) / len(train)
