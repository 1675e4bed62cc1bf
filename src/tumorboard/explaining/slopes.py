"""How the log-odds of a class change with each channel of the feature maps, on any Keras backend.

Keras has no gradient of its own. TensorFlow's tape is used where it is the backend. Elsewhere the same number
comes from finite differences: Grad-CAM wants the gradient's mean over all places of a channel, which is how
the answer changes when a constant is added to that channel; one pass through the small head each. A test
holds the two together.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

Arrays = list[npt.NDArray[np.float32]]

_TINY = 1e-30
_STEP = 3e-3  # of a channel's largest value: well above rounding, well below where the head bends
_AT_ONCE = 32


def slopes(head: keras.Model, maps: Sequence[npt.NDArray[np.float32]], target: int) -> Arrays:
    """The mean gradient of log p - log(1 - p) of each channel.

    Args:
        head: Feature maps -> (N, C) probabilities.
        maps: One or several, (1, h, w, K).
        target: The class whose p it is.

    Returns:
        (K,) for each map.
    """
    if keras.backend.backend() == "tensorflow":
        return by_tape(head, maps, target)
    return by_differences(head, maps, target)


def by_tape(head: keras.Model, maps: Sequence[npt.NDArray[np.float32]], target: int) -> Arrays:
    """With TensorFlow's gradient."""
    import tensorflow as tf

    inputs = [tf.convert_to_tensor(one) for one in maps]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        odds = log_odds(head(inputs, training=False), target)
    found = tape.gradient(odds, inputs, unconnected_gradients="zero")
    return [one.numpy().mean((0, 1, 2)) for one in found]


def by_differences(head: keras.Model, maps: Sequence[npt.NDArray[np.float32]], target: int) -> Arrays:
    """With central differences, on any backend; up to a second for a map of 2048 channels."""
    return [_along_channels(head, maps, number, target) for number in range(len(maps))]


def _along_channels(
    head: keras.Model, maps: Sequence[npt.NDArray[np.float32]], number: int, target: int
) -> npt.NDArray[np.float32]:
    _, h, w, K = maps[number].shape
    step = _STEP * max(float(np.abs(maps[number]).max()), 1e-3)
    found = np.empty(K, np.float32)
    for start in range(0, K, _AT_ONCE):
        block = np.arange(start, min(start + _AT_ONCE, K))
        shift = step * np.eye(K, dtype=np.float32)[block][:, None, None, :]
        up, down = (
            _odds(head, [one + sign * shift if i == number else one for i, one in enumerate(maps)], target)
            for sign in (1, -1)
        )
        found[block] = (up - down) / (2 * step * h * w)
    return found


def _odds(head: keras.Model, maps: Sequence[npt.NDArray[np.float32]], target: int) -> npt.NDArray[np.float32]:
    count = max(len(one) for one in maps)
    batch = [np.broadcast_to(one, (count, *one.shape[1:])) for one in maps]
    return np.asarray(ops.convert_to_numpy(log_odds(head(batch, training=False), target)))


def log_odds(probabilities: Any, target: int) -> Any:
    """The log-odds, log p - log(1 - p), of (N, C) probabilities, (N,); 1 - p is the sum of the others."""
    is_target = np.arange(probabilities.shape[1]) == target
    p = ops.sum(ops.where(is_target, probabilities, 0.0), axis=1)
    rest = ops.sum(ops.where(is_target, 0.0, probabilities), axis=1)
    return ops.log(p + _TINY) - ops.log(rest + _TINY)
