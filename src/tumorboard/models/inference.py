"""Prediction one image at a time, so that no other image can change a bit, and networks merged into one."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import layers

from tumorboard import progress
from tumorboard.data.image_cache import Images
from tumorboard.models.model_spec import call_again

_TRAINING_ONLY = (
    layers.RandomFlip,
    layers.RandomRotation,
    layers.RandomZoom,
    layers.RandomTranslation,
    layers.RandomContrast,
    layers.Dropout,
)
_IRRELEVANT = ("name", "trainable", "seed")  # settings that do not change what a layer predicts


def probabilities(
    model: keras.Model,
    images: Images,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """Predict class probabilities, (N, C) float64, of images (N, H, W, 3) uint8.

    The batch size is always 1: the compiled graph runs with one shape, and the prediction for an image
    depends neither on other images nor on their order. On a CPU this is no slower than larger batches.
    """
    rows = np.empty((len(images), model.output_shape[-1]), dtype=np.float64)
    for number in range(len(images)):
        progress.stop_if_asked()
        rows[number] = model.predict_on_batch(images[number : number + 1])[0]
        on_image(number + 1, len(images))
    return rows


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


def inference_graph(networks: Mapping[str, keras.Model]) -> keras.Model:
    """Copy networks into one frozen graph for inference, which computes shared layers once.

    It is frozen because Keras exports a batch norm that is trainable in its training form, whose outputs are
    other ones and depend on the batch.

    Returns:
        (N, S, S, 3) float32 of 0-255 -> the output of each network, in order.
    """

    def copy_layer(layer: keras.Layer) -> Any:
        if isinstance(layer, _TRAINING_ONLY):
            return layers.Identity(name=layer.name)
        config = layer.get_config()
        if isinstance(layer, layers.Rescaling):  # tf2onnx skips an optimisation if the offset is a scalar
            for key in ("scale", "offset"):
                config[key] = [config[key]] if isinstance(config[key], int | float) else config[key]
        return layer.__class__.from_config(config)

    whole = merge_networks(networks)
    outputs = [whole.output[name] for name in networks]
    whole = keras.Model(whole.input, outputs if len(outputs) > 1 else outputs[0])
    copy = keras.models.clone_model(whole, clone_function=copy_layer)
    copy.set_weights(whole.get_weights())
    copy.trainable = False
    copy(np.zeros((1, *whole.input_shape[1:]), np.float32))  # Keras exports only models that have been called
    return copy
