"""How the log-odds of a class change with each channel of the feature maps, on any Keras backend.

Keras has no gradient of its own. TensorFlow's tape is used where it is the backend. Elsewhere the same number
comes from finite differences: Grad-CAM wants the gradient's mean over all places of a channel, which is how
the answer changes when a constant is added to that channel; one pass through the small head each. A test
holds the two together.
"""

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import keras
import numpy as np
import numpy.typing as npt
from keras import ops
from PIL import Image

from tumorboard.data.pixels import Pixels
from tumorboard.models.model_spec import ModelSpec, call_again, tap

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


Map = npt.NDArray[np.float32]

_Cut = tuple[keras.Model, keras.Model, list[bool]]
_cuts: WeakKeyDictionary[keras.Model, _Cut] = WeakKeyDictionary()


def heat_map(model: keras.Model, spec: ModelSpec, pixels: Pixels, target: int | None = None) -> Map:
    """Where the model sees what speaks for a class.

    Args:
        model: Any that keeps the spec; ensembles and chains too.
        spec: Its spec.
        pixels: uint8 (S, S, 3), as `read_input` gives them.
        target: The class; by default the one that the model answers.

    Returns:
        (S, S), 0 to 1; 1 where it is strongest. All 0 where nothing speaks for the class, or where the answer
        has no slope, as that of a vote: `member_heat_maps` has its members'.

    Raises:
        ModelError: The model has no feature map.
    """
    return _scaled(_map(*_cut(model), pixels, target))


def member_heat_maps(
    model: keras.Model, spec: ModelSpec, pixels: Pixels, target: int | None = None
) -> dict[str, Map]:
    """Where each network inside an ensemble sees what speaks, in its own answer, for the class.

    Args:
        model: As for `heat_map`.
        spec: As for `heat_map`.
        pixels: As for `heat_map`.
        target: As for `heat_map`; by default the class that each member answers.

    Returns:
        Maps as from `heat_map`, by member; of a model without members by its own name.
    """
    members = [_member(model, layer) for layer in model.layers if layer.name.endswith("_feature_map")]
    return {one.name: _scaled(_map(*_cut(one), pixels, target)) for one in members}


def _cut(model: keras.Model) -> _Cut:
    """Image -> feature maps, maps -> probabilities, which maps are mirrored; once, for it takes seconds."""
    if model not in _cuts:
        maps, output = _traced(model)
        trunk = keras.Model(model.input, maps, name=f"{model.name}_to_maps")
        head = keras.Model(maps, output, name=f"{model.name}_from_maps")
        _cuts[model] = trunk, head, [_is_mirrored(model, one) for one in maps]
    return _cuts[model]


def _traced(model: keras.Model) -> tuple[list[Any], Any]:
    """All feature maps, of mirror images too, for which layers are called twice, and the answer."""
    maps: list[Any] = []

    def call(layer: keras.Layer, *seen: Any, **options: Any) -> Any:
        found = layer(*seen, **options)
        if layer.name.endswith("_feature_map"):
            maps.append(found)
        return found

    output = call_again(model, model.input, call)
    return maps or [tap(model, "feature_map")], output


def _is_mirrored(model: keras.Model, found: Any) -> bool:
    """Whether it is the map of the mirror image: in a model that looks at both."""
    way = keras.Model(model.input, found).layers
    return len([layer for layer in way if layer.name.endswith("_mirror")]) % 2 == 1


_members: WeakKeyDictionary[keras.Model, dict[str, keras.Model]] = WeakKeyDictionary()


def _member(model: keras.Model, layer: keras.Layer) -> keras.Model:
    """The network from the image to the first answer behind a feature map."""
    names = {one.name for one in model.layers}
    parts = layer.name.removesuffix("_feature_map").split("_")
    prefixes = ("_".join(parts[:count]) for count in range(len(parts), 0, -1))
    prefix = next(one for one in prefixes if f"{one}_probabilities" in names)
    if prefix == model.name:
        return model
    known = _members.setdefault(model, {})
    if prefix not in known:
        answer = model.get_layer(f"{prefix}_probabilities").output
        known[prefix] = keras.Model(model.input, answer, name=prefix)
    return known[prefix]


def _map(
    trunk: keras.Model, head: keras.Model, mirrored: Sequence[bool], pixels: Pixels, target: int | None
) -> Map:
    maps = _maps(trunk, pixels)
    if target is None:
        target = int(np.asarray(head(maps, training=False))[0].argmax())
    weighted = zip(maps, slopes(head, maps, target), strict=True)
    enlarged = [_enlarged((one[0] * slope).sum(-1), len(pixels)) for one, slope in weighted]
    straight = [one[:, ::-1] if turned else one for one, turned in zip(enlarged, mirrored, strict=True)]
    return np.asarray(np.sum(straight, axis=0), np.float32)


def _maps(trunk: keras.Model, pixels: Pixels) -> Arrays:
    found = trunk.predict_on_batch(pixels[None])
    return [np.asarray(one) for one in (found if isinstance(found, list) else [found])]


def _enlarged(small: npt.NDArray[np.float32], size: int) -> Map:
    """Only what speaks for the class, at the image's size."""
    image = Image.fromarray(np.maximum(small, 0).astype(np.float32))
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


def _scaled(found: Map) -> Map:
    top = float(found.max())
    return (found / top if top > 0 else found).astype(np.float32)
