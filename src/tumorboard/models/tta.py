"""Test-time augmentation over an image and its mirror image, in public layers of the saved model."""

from typing import Any

import keras
import numpy as np
from keras import layers

from tumorboard.models.model_spec import call_again


def mirror_averaged(model: keras.Model) -> keras.Model:
    """Build the mean of a model's predictions for an image and for its mirror image.

    Args:
        model: A model that matches its specification. Its layers are shared and called a second time, except
            the last one, which is copied as `<name>_answer`.

    Returns:
        A model of the same name. Its embedding is that of the image itself.
    """
    name, image = model.name, model.input
    last = model.get_layer(f"{name}_probabilities")
    classify = last.__class__.from_config({**last.get_config(), "name": f"{name}_answer"})
    body, mirror_image = keras.Model(image, last.input), mirror(image, name)

    def call_on_mirror_image(layer: keras.Layer, *args: Any, **options: Any) -> Any:
        return layer(*(mirror_image if tensor is image else tensor for tensor in args), **options)

    outputs = [classify(last.input), classify(call_again(body, image, call_on_mirror_image))]
    classify.set_weights(last.get_weights())
    return keras.Model(image, layers.Average(name=last.name)(outputs), name=name)


def mirror(image: Any, name: str) -> Any:
    """Reverse the columns of (N, H, W, C) exactly; the flip of Keras is for training only.

    A frozen Dense layer permutes the columns: each output is a sum of one pixel and zeros.
    """
    width = image.shape[2]
    x = layers.Permute((1, 3, 2), name=f"{name}_mirror_columns_last")(image)
    exchange = layers.Dense(width, use_bias=False, trainable=False, name=f"{name}_mirror")
    x = exchange(x)
    exchange.set_weights([np.eye(width)[::-1]])
    return layers.Permute((1, 3, 2), name=f"{name}_mirror_columns_back")(x)
