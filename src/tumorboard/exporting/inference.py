"""The part of networks that answers: no augmentation, no dropout, nothing that could still learn."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import layers

from tumorboard.models.joint import joint

_RANDOM = (
    layers.RandomFlip,
    layers.RandomRotation,
    layers.RandomZoom,
    layers.RandomTranslation,
    layers.RandomContrast,
    layers.Dropout,
)


def inference_graph(networks: Mapping[str, keras.Model]) -> keras.Model:
    """A copy, (N, S, S, 3) float32 of 0-255 to what each network answers, in order, that only predicts.

    What the networks share is computed once. It is frozen: Keras exports a batch norm that may still learn
    in its training form, whose answers are others and change with the batch.
    """
    whole = joint(networks)
    answers = [whole.output[name] for name in networks]
    whole = keras.Model(whole.input, answers if len(answers) > 1 else answers[0])
    copy = keras.models.clone_model(whole, clone_function=_plain)
    copy.set_weights(whole.get_weights())
    copy.trainable = False
    copy(np.zeros((1, *whole.input_shape[1:]), np.float32))  # Keras exports only what has been called
    return copy


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
