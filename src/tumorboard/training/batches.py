"""Training rows in an order that depends on the seed and the epoch alone, so that a resume repeats it."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from tumorboard.data.image_cache import Rows
from tumorboard.training.feature_cache import Views


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Shuffled batches; every row takes one of its views at random, anew for every epoch that is drawn.

    Args:
        inputs: Per input of the network, per view: an array (N, ...).
        labels: (N,) class numbers.
        batch: Rows a batch.
        order: The seed of order and views; None keeps the rows in order and takes the first view.
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
        x = tuple(_gather(arrays, rows, views) for arrays in self._inputs)
        found = (x if len(x) > 1 else x[0], self._labels[rows])
        return found if self._weights is None else (*found, self._weights[rows])

    def draw(self, epoch: int) -> None:
        """Order and views of an epoch."""
        count = len(self._labels)
        if self._order is None:
            self._rows, self._views = np.arange(count), np.zeros(count, dtype=int)
            return
        draws = np.random.default_rng([self._order, epoch])
        self._rows, self._views = draws.permutation(count), draws.integers(0, 2**16, size=count)


def feed(batches: Batches) -> Any:
    """What to give `keras.Model.fit` for them: on TensorFlow a `tf.data.Dataset` that does not tune itself.

    The thread with which such a set tunes itself can miss that an epoch is over; then `fit` waits for its
    next round, up to as long again as the epoch took. With busy processors that was a fifth of a training.
    """
    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    def each() -> Iterator[tuple[Any, ...]]:
        yield from (batches[number] for number in range(len(batches)))

    kinds = tf.nest.map_structure(lambda part: tf.TensorSpec((None, *part.shape[1:]), part.dtype), batches[0])
    found = tf.data.Dataset.from_generator(each, output_signature=kinds).prefetch(1)
    options = tf.data.Options()
    options.autotune.enabled = False
    return found.apply(tf.data.experimental.assert_cardinality(len(batches))).with_options(options)


def _gather(arrays: Sequence[np.ndarray | Rows], rows: np.ndarray, views: np.ndarray) -> np.ndarray:
    """Row by row from a view each: memory maps are read only where they are needed."""
    picked = [arrays[view % len(arrays)][row] for row, view in zip(rows, views, strict=True)]
    stacked = np.stack(picked)
    return stacked.astype(np.float32) if stacked.dtype == np.float16 else stacked
