"""EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation, with ReLU6 for swish.

Architecture: Tan and Le, 2019, https://arxiv.org/abs/1905.11946, in its "lite" form. It holds 3.4 million
weights without its classifier. Its ImageNet weights come with this package: see weights/README.md.
"""

from dataclasses import dataclass
from typing import Any

import keras
from keras import layers


@dataclass(frozen=True)
class Stage:
    """Blocks of one resolution; the first one takes the stride and the new width."""

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
    """The network up to its last convolution, randomly initialised.

    Args:
        input_shape: Height, width and 3 channels; values (x - 127) / 128 of RGB pixels x in 0-255.
        prefix: The model's name and the beginning of all layer names.

    Returns:
        A Functional model, (N, H, W, 3) -> (N, H / 32, W / 32, 1280), values 0-6.
    """
    inputs = keras.Input(input_shape, name=f"{prefix}_input")
    x = _convolve(inputs, STEM_FILTERS, 3, 2, f"{prefix}_stem")
    x = _relu6(x, f"{prefix}_stem")
    for number, stage in enumerate(STAGES, start=1):
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            x = _block(x, stage, stride, f"{prefix}_block{number}{chr(ord('a') + repeat)}")
    x = _convolve(x, HEAD_FILTERS, 1, 1, f"{prefix}_head")
    return keras.Model(inputs, _relu6(x, f"{prefix}_head"), name=prefix)


def _block(inputs: Any, stage: Stage, stride: int, name: str) -> Any:
    """Inverted residual: widen, convolve each channel, narrow; a shortcut where shapes allow it."""
    x, width = inputs, inputs.shape[-1]
    if stage.expansion > 1:
        x = _convolve(x, width * stage.expansion, 1, 1, f"{name}_expand")
        x = _relu6(x, f"{name}_expand")
    x = _convolve_each_channel(x, stage.kernel, stride, f"{name}_depthwise")
    x = _relu6(x, f"{name}_depthwise")
    x = _convolve(x, stage.filters, 1, 1, f"{name}_project")
    if stride == 1 and width == stage.filters:
        x = layers.Add(name=f"{name}_add")([inputs, x])
    return x


def _convolve(x: Any, filters: int, kernel: int, stride: int, name: str) -> Any:
    start = keras.initializers.VarianceScaling(2.0, "fan_out")
    convolution = layers.Conv2D(
        filters, kernel, stride, "same", use_bias=False, kernel_initializer=start, name=f"{name}_conv"
    )
    return _normalise(convolution(x), name)


def _convolve_each_channel(x: Any, kernel: int, stride: int, name: str) -> Any:
    start = keras.initializers.VarianceScaling(2.0, "fan_out")
    convolution = layers.DepthwiseConv2D(
        kernel, stride, "same", use_bias=False, depthwise_initializer=start, name=f"{name}_conv"
    )
    return _normalise(convolution(x), name)


def _normalise(x: Any, name: str) -> Any:
    return layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}_norm")(x)


def _relu6(x: Any, name: str) -> Any:
    return layers.ReLU(max_value=6.0, name=f"{name}_relu")(x)
