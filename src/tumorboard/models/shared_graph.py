"""Several networks as one graph, which computes shared layers once."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import keras

from tumorboard.models.model_spec import call_again

_IRRELEVANT = ("name", "trainable", "seed")  # settings that do not change what a layer predicts


def merge_networks(models: Mapping[str, keras.Model]) -> keras.Model:
    """Build image -> output of each model, by its name.

    An ensemble holds copies of its members, so that predicting model by model computes each member several
    times. Here, layers of the same class, settings and weights that are called on the same tensors are one
    layer.
    """
    image = keras.Input(next(iter(models.values())).input_shape[1:])
    outputs: dict[tuple[str, ...], Any] = {}

    def call_once(layer: keras.Layer, *args: Any, **options: Any) -> Any:
        settings = json.dumps(_relevant(keras.saving.serialize_keras_object(layer)), sort_keys=True)
        digest = hashlib.sha256(settings.encode())
        for weight in layer.get_weights():
            digest.update(weight.tobytes())
        # Tensors are identified by address: all are kept alive for as long as they are compared.
        inputs = (
            f"tensor {id(value)}" if isinstance(value, keras.KerasTensor) else repr(value)
            for value in keras.tree.flatten((args, options))
        )
        key = (digest.hexdigest(), *inputs)
        if key not in outputs:
            outputs[key] = layer(*args, **options)
        return outputs[key]

    return keras.Model(image, {name: call_again(model, image, call_once) for name, model in models.items()})


def _relevant(settings: Any) -> Any:
    if isinstance(settings, dict):
        return {key: _relevant(value) for key, value in settings.items() if key not in _IRRELEVANT}
    return [_relevant(item) for item in settings] if isinstance(settings, list | tuple) else settings
