"""What each backbone's weights want done to raw pixels, in layers that are saved inside the model.

Only public Keras layers with names of their own: a saved model holds no code of ours and loads in safe mode.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import layers

from tumorboard.models.catalogue import Scaling

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)


def unit(x: Any, prefix: str) -> Any:
    """Values x / 255, in 0-1; what the original study did before every network."""
    return layers.Rescaling(1 / 255, name=f"{prefix}_rescaling")(x)


def _caffe(x: Any, prefix: str) -> Any:
    """RGB to BGR minus the mean, -124 to 151: exact in float32, for all but one product of a sum are 0."""
    swap = layers.Conv2D(3, 1, trainable=False, name=f"{prefix}_to_bgr")
    y = swap(x)
    swap.set_weights([np.eye(3, dtype="float32")[::-1][None, None], -np.asarray(CAFFE_MEAN_BGR, "float32")])
    return y


def _tf(x: Any, prefix: str) -> Any:
    """Values x / 127.5 - 1, in -1 to 1."""
    return layers.Rescaling(1 / 127.5, offset=-1.0, name=f"{prefix}_rescaling")(x)


def _torch(x: Any, prefix: str) -> Any:
    """ImageNet's mean and deviation, about -2.1 to 2.6."""
    variance = [deviation**2 for deviation in IMAGENET_DEVIATION]
    normalise = layers.Normalization(
        mean=list(IMAGENET_MEAN), variance=variance, name=f"{prefix}_normalization"
    )
    return normalise(unit(x, prefix))


def _lite(x: Any, prefix: str) -> Any:
    """Values (x - 127) / 128, in -0.99 to 1; the evidence for it is in docs/backbones.md."""
    return layers.Rescaling(1 / 128, offset=-127 / 128, name=f"{prefix}_rescaling")(x)


OWN: dict[Scaling, Callable[[Any, str], Any]] = {
    "caffe": _caffe,
    "tf": _tf,
    "torch": _torch,
    "lite": _lite,
    "inside": lambda x, prefix: x,
}
