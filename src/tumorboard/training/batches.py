"""Shuffled batches of training rows; the order depends on seed and epoch only, so a resume repeats it."""

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tumorboard.training.feature_cache import Views


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of rows, of each of which one of its views is drawn at random in every epoch.

    Args:
        inputs: Per input of the network, per view: an array (N, ...).
        labels: (N,) class numbers.
        batch: Rows per batch.
        order: Seed of the order and the views; None keeps the order and takes the first view.
        weights: (N,) weights of the rows in the loss.
    """

    def __init__(
        self,
        inputs: Views,
        labels: np.ndarray,
        batch: int,
        *,
        order: int | None = None,
        weights: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self._inputs, self._labels, self._batch, self._weights = inputs, labels, batch, weights
        self._order = order
        self.draw(0)

    def __len__(self) -> int:
        return math.ceil(len(self._labels) / self._batch)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        part = slice(index * self._batch, (index + 1) * self._batch)
        rows, views = self._rows[part], self._views[part]
        inputs = []
        for arrays in self._inputs:  # row by row, so that memory maps are read only where needed
            drawn = [arrays[view % len(arrays)][row] for row, view in zip(rows, views, strict=True)]
            values = np.stack(drawn)
            inputs.append(values.astype(np.float32) if values.dtype == np.float16 else values)
        batch = (tuple(inputs) if len(inputs) > 1 else inputs[0], self._labels[rows])
        return batch if self._weights is None else (*batch, self._weights[rows])

    def draw(self, epoch: int) -> None:
        """Draw the order and the views of an epoch."""
        count = len(self._labels)
        if self._order is None:
            self._rows, self._views = np.arange(count), np.zeros(count, dtype=int)
            return
        rng = np.random.default_rng([self._order, epoch])
        self._rows, self._views = rng.permutation(count), rng.integers(0, 2**16, size=count)


def as_dataset(batches: Batches) -> Any:
    """Return the input of `keras.Model.fit`: on TensorFlow a `tf.data.Dataset` without autotuning.

    The autotuning thread of a dataset can miss the end of an epoch; `fit` then waits for its next round, up
    to as long again as the epoch took. With busy processors that was a fifth of a training.
    """
    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    def generate() -> Iterator[tuple[Any, ...]]:
        yield from (batches[number] for number in range(len(batches)))

    specs = tf.nest.map_structure(lambda part: tf.TensorSpec((None, *part.shape[1:]), part.dtype), batches[0])
    dataset = tf.data.Dataset.from_generator(generate, output_signature=specs).prefetch(1)
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.apply(tf.data.experimental.assert_cardinality(len(batches))).with_options(options)
