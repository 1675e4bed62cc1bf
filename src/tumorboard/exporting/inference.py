"""The part of a model that answers: no augmentation, no dropout, nothing that could still learn."""

from typing import Any

import keras
import numpy as np
from keras import layers

from tumorboard.models.embedding import embedder

_RANDOM = (
    layers.RandomFlip,
    layers.RandomRotation,
    layers.RandomZoom,
    layers.RandomTranslation,
    layers.RandomContrast,
    layers.Dropout,
)


def inference_graph(model: keras.Model, embeds: bool = False) -> keras.Model:
    """A copy, (N, S, S, 3) float32 of 0-255 to (N, C), of the same names, that only predicts.

    It is frozen: Keras exports a batch norm that may still learn in its training form, whose answers are
    others and change with the batch.

    Args:
        model: As the run holds it.
        embeds: Whether it answers [(N, C), (N, D)], with the embedding.
    """
    copy = keras.models.clone_model(model, clone_function=_plain)
    copy.set_weights(model.get_weights())
    if embeds:
        copy = with_embedding(copy)
    copy.trainable = False
    copy(np.zeros((1, *model.input_shape[1:]), np.float32))  # Keras exports only what has been called
    return copy


def with_embedding(model: keras.Model) -> keras.Model:
    """The same layers, answering probabilities and embedding."""
    return keras.Model(model.input, [model.output, embedder(model).output], name=model.name)


def _plain(layer: keras.Layer) -> Any:
    if isinstance(layer, _RANDOM):
        return layers.Identity(name=layer.name)
    config = layer.get_config()
    if isinstance(
        layer, layers.Rescaling
    ):  # tf2onnx gives up a whole optimisation on an offset without shape
        config |= {one: _listed(config[one]) for one in ("scale", "offset")}
    return layer.__class__.from_config(config)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, int | float) else value
