"""Left and right of an image exchanged, in public layers: Keras's own flip is of training alone."""

from typing import Any

import numpy as np
from keras import layers


def mirrored(image: Any, name: str) -> Any:
    """(N, H, W, C) with its columns in reverse order, exactly.

    A frozen Dense layer over the columns puts each at its place: sums of one pixel and of zeros.
    """
    width = image.shape[2]
    x = layers.Permute((1, 3, 2), name=f"{name}_mirror_columns_last")(image)
    exchange = layers.Dense(width, use_bias=False, trainable=False, name=f"{name}_mirror")
    x = exchange(x)
    exchange.set_weights([np.eye(width)[::-1]])
    return layers.Permute((1, 3, 2), name=f"{name}_mirror_columns_back")(x)
