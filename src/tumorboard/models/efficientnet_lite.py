"""EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation, with ReLU6 instead of swish.

Architecture: Tan and Le, 2019, https://arxiv.org/abs/1905.11946, in its "lite" form, with 3.4 million weights
without the classifier. Its ImageNet weights are part of this package: see weights/README.md.
"""

from dataclasses import dataclass
from typing import Any

import keras
from keras import layers


@dataclass(frozen=True)
class Stage:
    """Blocks of one resolution; the first block has the stride and changes the width."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    filters: int


STEM_FILTERS, HEAD_FILTERS = 32, 1280
STAGES = (
    Stage(repeats=1, kernel=3, stride=1, expansion=1, filters=16),
    Stage(repeats=2, kernel=3, stride=2, expansion=6, filters=24),
    Stage(repeats=2, kernel=5, stride=2, expansion=6, filters=40),
    Stage(repeats=3, kernel=3, stride=2, expansion=6, filters=80),
    Stage(repeats=3, kernel=5, stride=1, expansion=6, filters=112),
    Stage(repeats=4, kernel=5, stride=2, expansion=6, filters=192),
    Stage(repeats=1, kernel=3, stride=1, expansion=6, filters=320),
)


def build(
    input_shape: tuple[int, int, int] = (224, 224, 3), prefix: str = "efficientnet_lite0"
) -> keras.Model:
    """Build the network up to its last convolution, randomly initialised.

    Args:
        input_shape: Height, width and 3 channels; values (x - 127) / 128 of RGB pixels x in 0-255.
        prefix: The model's name and the prefix of all layer names.

    Returns:
        A Functional model, (N, H, W, 3) -> (N, H / 32, W / 32, 1280), values 0-6.
    """
    inputs = keras.Input(input_shape, name=f"{prefix}_input")
    x = _conv_norm(inputs, f"{prefix}_stem", 3, 2, STEM_FILTERS)
    x = _relu6(x, f"{prefix}_stem")
    for number, stage in enumerate(STAGES, start=1):
        for repeat in range(stage.repeats):
            name, stride = f"{prefix}_block{number}{chr(ord('a') + repeat)}", 1 if repeat else stage.stride
            # Inverted residual: expand, depthwise convolution, project; a shortcut where shapes allow it.
            shortcut, width = x, x.shape[-1]
            if stage.expansion > 1:
                x = _conv_norm(x, f"{name}_expand", 1, 1, width * stage.expansion)
                x = _relu6(x, f"{name}_expand")
            x = _conv_norm(x, f"{name}_depthwise", stage.kernel, stride)
            x = _relu6(x, f"{name}_depthwise")
            x = _conv_norm(x, f"{name}_project", 1, 1, stage.filters)
            if stride == 1 and width == stage.filters:
                x = layers.Add(name=f"{name}_add")([shortcut, x])
    x = _conv_norm(x, f"{prefix}_head", 1, 1, HEAD_FILTERS)
    return keras.Model(inputs, _relu6(x, f"{prefix}_head"), name=prefix)


def _conv_norm(x: Any, name: str, kernel: int, stride: int, filters: int | None = None) -> Any:
    """Apply a convolution, depthwise without `filters`, and batch normalization."""
    options = {"padding": "same", "use_bias": False, "name": f"{name}_conv"}
    initializer = keras.initializers.VarianceScaling(2.0, "fan_out")
    if filters is None:
        convolution = layers.DepthwiseConv2D(kernel, stride, depthwise_initializer=initializer, **options)
    else:
        convolution = layers.Conv2D(filters, kernel, stride, kernel_initializer=initializer, **options)
    return layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}_norm")(convolution(x))


def _relu6(x: Any, name: str) -> Any:
    return layers.ReLU(max_value=6.0, name=f"{name}_relu")(x)
