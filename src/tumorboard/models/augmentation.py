"""Random augmentation of training images, as layers of the model that are inactive in prediction."""

import contextlib
import functools
import itertools
from typing import Any

import keras
from keras import layers, ops

from tumorboard.config import Augmentation

_GEOMETRIC = (layers.RandomRotation, layers.RandomZoom, layers.RandomTranslation)


def augment(x: Any, settings: Augmentation, prefix: str, seed: int) -> Any:
    """Apply the augmentation layers to (N, H, W, C) pixels 0-255; each layer has its own seed."""

    def named(kind: str, offset: int) -> dict[str, Any]:
        return {"seed": seed * 8 + offset, "name": f"{prefix}_augment_{kind}"}

    fill = settings.fill
    if settings.flip != "none":
        x = layers.RandomFlip(settings.flip, **named("flip", 0))(x)
    if settings.rotation:
        x = layers.RandomRotation(settings.rotation, fill, **named("rotation", 1))(x)
    if settings.zoom:
        x = layers.RandomZoom(settings.zoom, fill_mode=fill, **named("zoom", 2))(x)
    if shift := settings.translation:
        x = layers.RandomTranslation(shift, shift, fill, **named("translation", 3))(x)
    if settings.contrast:
        x = layers.RandomContrast(settings.contrast, value_range=(0, 255), **named("contrast", 4))(x)
    return x


class Augmented(keras.Model):  # type: ignore[misc]
    """A model with its augmentation on, also in `predict_on_batch`, whose compiled graph is fast.

    Rotation, zoom and translation are drawn as the layers draw them, but applied in one interpolation instead
    of three, which is faster and blurs less. A Functional model cannot do this: in Keras, `predict` overrides
    the `training` argument that a Functional graph has recorded, and all draws would be equal.

    Args:
        model: Functional; its layers are shared. Where its geometric layers do not directly follow one
            another, or another branch bypasses them, each layer interpolates by itself.
    """

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        before, after = model, None
        geometric = [layer for layer in model.layers if type(layer) in _GEOMETRIC]
        if geometric and all(
            first.output is second.input and first.fill_mode == second.fill_mode
            for first, second in itertools.pairwise(geometric)
        ):
            with contextlib.suppress(ValueError):  # another branch: the graph is not connected
                before_first = keras.Model(model.input, geometric[0].input)
                after = keras.Model(geometric[-1].output, model.output)
                before = before_first
        self._before, self._geometric, self._after = before, geometric if after else [], after

    def call(self, image: Any) -> Any:
        """Apply the model to (N, H, W, C) images with a new draw of the augmentation."""
        x = self._before(image, training=True)
        if self._after is None:
            return x
        x = ops.cast(x, "float32")
        matrices = [_source_positions(layer, x) for layer in self._geometric]
        transform = ops.reshape(functools.reduce(ops.matmul, matrices), (-1, 9))[:, :8]
        x = ops.image.affine_transform(x, transform, fill_mode=self._geometric[0].fill_mode)
        return self._after(x, training=True)


def _source_positions(layer: Any, x: Any) -> Any:
    """Draw a transformation: (N, 3, 3), from the position of a pixel to the one that it comes from."""
    drawn = layer.get_random_transformation(x)
    if isinstance(layer, layers.RandomRotation):
        flat = drawn["rotation_matrix"]
        return ops.reshape(ops.concatenate([flat, ops.ones_like(flat[:, :1])], axis=1), (-1, 3, 3))
    if isinstance(layer, layers.RandomZoom):
        scale_x, scale_y = drawn["width_zoom"][:, 0], drawn["height_zoom"][:, 0]
        shift_x = (x.shape[2] - 1) / 2 * (1 - scale_x)
        shift_y = (x.shape[1] - 1) / 2 * (1 - scale_y)
    else:
        shift_x, shift_y = -drawn["translations"][:, 0], -drawn["translations"][:, 1]
        scale_x = scale_y = ops.ones_like(shift_x)
    ones, zeros = ops.ones_like(shift_x), ops.zeros_like(shift_x)
    rows = [[scale_x, zeros, shift_x], [zeros, scale_y, shift_y], [zeros, zeros, ones]]
    return ops.stack([ops.stack(row, axis=1) for row in rows], axis=1)
