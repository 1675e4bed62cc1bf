"""A network asked about an image and about its mirror image, in public layers."""

from typing import Any

import keras
import numpy as np
from keras import layers

from tumorboard.models.model_spec import call_again


def mirror_averaged(model: keras.Model) -> keras.Model:
    """The mean of what a model answers to an image and to its mirror image: test-time augmentation.

    Args:
        model: One that keeps the spec. Its layers are shared, called a second time, but the last one, of
            which there is a copy by the name of `<name>_answer`.

    Returns:
        A model of the same name. Its embedding is that of the image itself.
    """
    name, image = model.name, model.input
    last = model.get_layer(f"{name}_probabilities")
    answer = last.__class__.from_config({**last.get_config(), "name": f"{name}_answer"})
    body, turned = keras.Model(image, last.input), mirror(image, name)

    def again(layer: keras.Layer, *seen: Any, **options: Any) -> Any:
        return layer(*(turned if one is image else one for one in seen), **options)

    answers = [answer(last.input), answer(call_again(body, image, again))]
    answer.set_weights(last.get_weights())
    return keras.Model(image, layers.Average(name=last.name)(answers), name=name)


def mirror(image: Any, name: str) -> Any:
    """(N, H, W, C) with its columns in reverse order, exactly; Keras's own flip is of training alone.

    A frozen Dense layer over the columns puts each at its place: sums of one pixel and of zeros.
    """
    width = image.shape[2]
    x = layers.Permute((1, 3, 2), name=f"{name}_mirror_columns_last")(image)
    exchange = layers.Dense(width, use_bias=False, trainable=False, name=f"{name}_mirror")
    x = exchange(x)
    exchange.set_weights([np.eye(width)[::-1]])
    return layers.Permute((1, 3, 2), name=f"{name}_mirror_columns_back")(x)
