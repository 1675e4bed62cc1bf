"""Grad-CAM on the log-odds of a class, for single networks, ensembles and chains, on any Keras backend.

Keras has no gradients of its own. On TensorFlow its gradient tape is used. Elsewhere the same values come
from finite differences: Grad-CAM needs the mean gradient over all positions of a channel, which is how the
output changes when a constant is added to that channel; two passes through the small head per channel. A test
compares the two.

A map that stays the same when the weights are shuffled shows the image, not what the network learned:
`correlation_after_shuffling` checks this (J. Adebayo et al., NeurIPS 31 (2018) 9505-9515).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import keras
import numpy as np
import numpy.typing as npt
import scipy
from keras import ops
from PIL import Image

from tumorboard.data.pixels import Pixels
from tumorboard.models.model_spec import call_again, tap

Array = npt.NDArray[np.float32]
Map = Array
"""(S, S), 0 to 1."""

_TINY = 1e-30
_STEP = 3e-3  # of a channel's largest value: well above rounding, small enough for the head to be linear
_CHANNELS_AT_ONCE = 32


class MapSplit(NamedTuple):
    """A model cut at its feature maps: image -> maps, maps -> probabilities, and which maps are mirrored."""

    trunk: keras.Model
    head: keras.Model
    is_mirrored: list[bool]

    def feature_maps(self, pixels: Pixels) -> list[Array]:
        """Compute the feature maps, (1, h, w, K) each, of an image."""
        maps = self.trunk.predict_on_batch(pixels[None])
        return [np.asarray(array) for array in (maps if isinstance(maps, list) else [maps])]


_splits: WeakKeyDictionary[keras.Model, MapSplit] = WeakKeyDictionary()
_members: WeakKeyDictionary[keras.Model, dict[str, keras.Model]] = WeakKeyDictionary()


def heat_map(model: keras.Model, pixels: Pixels, target: int | None = None) -> Map:
    """Compute where the image raises the log-odds of a class.

    Args:
        model: A model that matches its specification; ensembles and chains too.
        pixels: uint8 (S, S, 3), as from `read_input`.
        target: The class number; by default the predicted class.

    Returns:
        (S, S), 0 to 1, where 1 is the strongest position. All 0 if nothing raises the log-odds, or if the
        output has no gradient, as that of a vote: use `member_heat_maps` then.

    Raises:
        ModelError: The model has no feature map.
    """
    split = split_at_maps(model)
    maps = split.feature_maps(pixels)
    if target is None:
        target = int(ops.convert_to_numpy(split.head(maps, training=False))[0].argmax())
    total = np.zeros(pixels.shape[:2], np.float32)
    for array, gradient, is_mirrored in zip(
        maps, channel_gradients(split.head, maps, target), split.is_mirrored, strict=True
    ):
        positive = np.maximum((array[0] * gradient).sum(-1), 0).astype(np.float32)
        enlarged = Image.fromarray(positive).resize((len(pixels),) * 2, Image.Resampling.BILINEAR)
        total += np.asarray(enlarged)[:, ::-1] if is_mirrored else np.asarray(enlarged)
    top = float(total.max())
    return (total / top if top > 0 else total).astype(np.float32)


def member_heat_maps(model: keras.Model, pixels: Pixels, target: int | None = None) -> dict[str, Map]:
    """Compute a heat map for each network inside an ensemble or a chain, on its own prediction.

    Returns:
        Maps as from `heat_map` by member; a model without members is the only one.
    """
    names = {layer.name for layer in model.layers}
    maps = {}
    for layer in model.layers:
        if not layer.name.endswith("_feature_map"):
            continue
        # The member is the network from the image to the first probabilities behind the feature map.
        parts = layer.name.removesuffix("_feature_map").split("_")
        prefixes = ("_".join(parts[:count]) for count in range(len(parts), 0, -1))
        name = next(prefix for prefix in prefixes if f"{prefix}_probabilities" in names)
        members = _members.setdefault(model, {})
        if name != model.name and name not in members:
            output = model.get_layer(f"{name}_probabilities").output
            members[name] = keras.Model(model.input, output, name=name)
        maps[name] = heat_map(members.get(name, model), pixels, target)
    return maps


def split_at_maps(model: keras.Model) -> MapSplit:
    """Cut a model at its feature maps; kept for as long as the model, since tracing takes seconds."""
    if model in _splits:
        return _splits[model]
    maps: list[Any] = []

    def call(layer: keras.Layer, *args: Any, **options: Any) -> Any:
        output = layer(*args, **options)
        if layer.name.endswith("_feature_map"):  # called twice in a model that averages over mirror images
            maps.append(output)
        return output

    output = call_again(model, model.input, call)
    maps = maps or [tap(model, "feature_map")]  # the latter raises
    is_mirrored = []
    for tensor in maps:
        path = keras.Model(model.input, tensor).layers
        is_mirrored.append(sum(layer.name.endswith("_mirror") for layer in path) % 2 == 1)
    trunk = keras.Model(model.input, maps, name=f"{model.name}_to_maps")
    head = keras.Model(maps, output, name=f"{model.name}_from_maps")
    _splits[model] = MapSplit(trunk, head, is_mirrored)
    return _splits[model]


def channel_gradients(head: keras.Model, maps: Sequence[Array], target: int) -> list[Array]:
    """Compute the mean gradient of log p - log(1 - p) with respect to each channel.

    Args:
        head: Feature maps -> (N, C) probabilities.
        maps: One or several, (1, h, w, K).
        target: The class whose probability is p.

    Returns:
        (K,) per map.
    """
    if keras.backend.backend() == "tensorflow":
        return gradients_by_tape(head, maps, target)
    return gradients_by_differences(head, maps, target)


def gradients_by_tape(head: keras.Model, maps: Sequence[Array], target: int) -> list[Array]:
    """Compute `channel_gradients` with TensorFlow."""
    import tensorflow as tf

    inputs = [tf.convert_to_tensor(array) for array in maps]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        odds = log_odds(head(inputs, training=False), target)
    gradients = tape.gradient(odds, inputs, unconnected_gradients="zero")
    return [gradient.numpy().mean((0, 1, 2)) for gradient in gradients]


def gradients_by_differences(head: keras.Model, maps: Sequence[Array], target: int) -> list[Array]:
    """Compute `channel_gradients` with central differences; up to a second for a map of 2048 channels."""

    def odds(inputs: list[Array]) -> Array:
        count = max(len(array) for array in inputs)
        batch = [np.broadcast_to(array, (count, *array.shape[1:])) for array in inputs]
        return np.asarray(ops.convert_to_numpy(log_odds(head(batch, training=False), target)))

    gradients = []
    for number, array in enumerate(maps):
        _, h, w, K = array.shape
        step = _STEP * max(float(np.abs(array).max()), 1e-3)
        gradient = np.empty(K, np.float32)
        for start in range(0, K, _CHANNELS_AT_ONCE):
            block = np.arange(start, min(start + _CHANNELS_AT_ONCE, K))
            shift = step * np.eye(K, dtype=np.float32)[block][:, None, None, :]
            before, after = maps[:number], maps[number + 1 :]
            up, down = (odds([*before, array + sign * shift, *after]) for sign in (1, -1))
            gradient[block] = (up - down) / (2 * step * h * w)
        gradients.append(gradient)
    return gradients


def log_odds(probabilities: Any, target: int) -> Any:
    """Compute log p - log(1 - p), (N,), of (N, C) probabilities; 1 - p is the sum of the other classes'."""
    is_target = np.arange(probabilities.shape[1]) == target
    p = ops.sum(ops.where(is_target, probabilities, 0.0), axis=1)
    rest = ops.sum(ops.where(is_target, 0.0, probabilities), axis=1)
    return ops.log(p + _TINY) - ops.log(rest + _TINY)


def correlation_after_shuffling(model: keras.Model, pixels: Pixels, target: int, seed: int = 0) -> float:
    """Correlate the Grad-CAM maps of a model and of a copy with shuffled weights.

    Args:
        model: As for `heat_map`.
        pixels: As for `heat_map`.
        target: The class number that both explain.
        seed: Seed of the shuffling.

    Returns:
        Spearman's rank correlation, -1 to 1; near 1 is a warning. 0 if one of the maps is constant.
    """
    maps = [heat_map(network, pixels, target) for network in (model, shuffled(model, seed))]
    if any(np.ptp(heat) == 0 for heat in maps):
        return 0.0
    return float(scipy.stats.spearmanr(*(heat.ravel() for heat in maps)).statistic)


def shuffled(model: keras.Model, seed: int = 0) -> keras.Model:
    """Copy a model with the values of each weight array in random order."""
    rng = np.random.default_rng(seed)
    copy = keras.models.clone_model(model)
    copy.set_weights([rng.permutation(array.ravel()).reshape(array.shape) for array in model.get_weights()])
    return copy
