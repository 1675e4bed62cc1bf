"""Several networks as one, which computes what they share once."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import keras

from tumorboard.models.model_spec import call_again

_NO_MATTER = ("name", "trainable", "seed")  # to what a layer answers when it is not trained


def merge_networks(models: Mapping[str, keras.Model]) -> keras.Model:
    """Image -> what each model answers, by its name.

    A combination holds copies of its members, so a board asked model by model computes each member several
    times. Here layers of the same kind, settings and weights that see the same tensor are one layer.
    """
    image = keras.Input(next(iter(models.values())).input_shape[1:])
    answers: dict[tuple[str, ...], Any] = {}

    def once(layer: keras.Layer, *seen: Any, **options: Any) -> Any:
        key = (_identity(layer), *map(_named, keras.tree.flatten((seen, options))))
        if key not in answers:
            answers[key] = layer(*seen, **options)
        return answers[key]

    return keras.Model(image, {name: call_again(model, image, once) for name, model in models.items()})


def _identity(layer: keras.Layer) -> str:
    """The same for layers that answer the same."""
    settings = json.dumps(_that_matter(keras.saving.serialize_keras_object(layer)), sort_keys=True)
    digest = hashlib.sha256(settings.encode())
    for weight in layer.get_weights():
        digest.update(weight.tobytes())
    return digest.hexdigest()


def _that_matter(settings: Any) -> Any:
    if isinstance(settings, dict):
        return {key: _that_matter(value) for key, value in settings.items() if key not in _NO_MATTER}
    return [_that_matter(one) for one in settings] if isinstance(settings, list | tuple) else settings


def _named(value: Any) -> str:
    """A tensor by itself: all are kept for as long as they are compared. Anything else by what it says."""
    return f"tensor {id(value)}" if isinstance(value, keras.KerasTensor) else repr(value)
