"""Random changes of training images, as layers of the model: active in training, absent in prediction."""

import contextlib
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from tumorboard.config import Augmentation


def augment(x: Any, settings: Augmentation, prefix: str, seed: int) -> Any:
    """Apply the settings to (N, H, W, C) pixels 0-255; each layer draws from a seed of its own."""
    for layer in _layers(settings, prefix, seed):
        x = layer(x)
    return x


def _layers(settings: Augmentation, prefix: str, seed: int) -> list[Any]:
    def named(kind: str, offset: int) -> dict[str, Any]:
        return {"seed": seed * 8 + offset, "name": f"{prefix}_augment_{kind}"}

    chosen: list[Any] = []
    if settings.flip != "none":
        chosen.append(layers.RandomFlip(settings.flip, **named("flip", 0)))
    if settings.rotation:
        chosen.append(layers.RandomRotation(settings.rotation, settings.fill, **named("rotation", 1)))
    if settings.zoom:
        chosen.append(layers.RandomZoom(settings.zoom, fill_mode=settings.fill, **named("zoom", 2)))
    if settings.translation:
        by = settings.translation
        chosen.append(layers.RandomTranslation(by, by, settings.fill, **named("translation", 3)))
    if settings.contrast:
        chosen.append(layers.RandomContrast(settings.contrast, value_range=(0, 255), **named("contrast", 4)))
    return chosen


class Augmented(keras.Model):  # type: ignore[misc]
    """A model with its augmentation on, also in `predict_on_batch`, whose compiled graph is fast.

    Turn, zoom and shift are drawn as its layers draw them and carried out in one interpolation instead of
    three, which is faster and blurs less. A Functional model would not do: in Keras, predicting overrides
    the `training` that a Functional graph has recorded, and all draws would be alike.

    Args:
        model: Functional; shared. In one of several branches, as in a chain, each layer interpolates.
    """

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self._before, self._moves, self._after = _parted(model)

    def call(self, image: Any) -> Any:
        """(N, H, W, C) to what the model makes of another draw."""
        x = self._before(image, training=True)
        return self._after(_moved(x, self._moves), training=True) if self._moves else x


def _parted(model: keras.Model) -> tuple[keras.Model, list[Any], keras.Model]:
    """What comes before its layers that only move pixels, these, and what comes after.

    All of it is before if they do not follow one another, or another branch passes by them.
    """
    moves = [layer for layer in model.layers if type(layer) in _MATRICES]
    pairs = itertools.pairwise(moves)
    if moves and all(one.output is other.input and one.fill_mode == other.fill_mode for one, other in pairs):
        with contextlib.suppress(ValueError):  # a branch that is not connected
            before, after = (model.input, moves[0].input), (moves[-1].output, model.output)
            return keras.Model(*before), moves, keras.Model(*after)
    return model, [], model


def _moved(x: Any, moves: Sequence[Any]) -> Any:
    x = ops.cast(x, "float32")
    sources = (_MATRICES[type(layer)](layer, x) for layer in moves)  # of pixels; the last is asked first
    joint = functools.reduce(ops.matmul, sources)
    flat = ops.reshape(joint, (-1, 9))[:, :8]
    return ops.image.affine_transform(x, flat, fill_mode=moves[0].fill_mode)


def _turn(layer: Any, x: Any) -> Any:
    flat = layer.get_random_transformation(x)["rotation_matrix"]
    return ops.reshape(ops.concatenate([flat, ops.ones_like(flat[:, :1])], axis=1), (-1, 3, 3))


def _zoom(layer: Any, x: Any) -> Any:
    drawn = layer.get_random_transformation(x)
    height, width = drawn["height_zoom"][:, 0], drawn["width_zoom"][:, 0]
    middle_y, middle_x = (x.shape[1] - 1) / 2, (x.shape[2] - 1) / 2
    return _matrix(width, middle_x * (1 - width), height, middle_y * (1 - height))


def _shift(layer: Any, x: Any) -> Any:
    by = layer.get_random_transformation(x)["translations"]
    one = ops.ones_like(by[:, 0])
    return _matrix(one, -by[:, 0], one, -by[:, 1])


def _matrix(scale_x: Any, shift_x: Any, scale_y: Any, shift_y: Any) -> Any:
    """(N, 3, 3), from the place of a pixel to the place that it comes from."""
    one, none = ops.ones_like(shift_x), ops.zeros_like(shift_x)
    rows = [[scale_x, none, shift_x], [none, scale_y, shift_y], [none, none, one]]
    return ops.stack([ops.stack(row, axis=1) for row in rows], axis=1)


_MATRICES = {layers.RandomRotation: _turn, layers.RandomZoom: _zoom, layers.RandomTranslation: _shift}
