"""Folding of batch normalization into the convolutions before it."""

from collections import Counter
from typing import Any

import keras
import numpy as np
from keras import layers


def fold_batchnorm(network: keras.Model) -> keras.Model:
    """Fold batch norms that will not be trained into convolutions, which is about twice as fast on a CPU.

    A batch norm is folded if it alone reads a convolution without activation. With the kernel k and bias b,
    k' = s k and b' = s (b - mean) + beta, where s = gamma / sqrt(variance + epsilon). Other norms stay.

    Args:
        network: Functional, each layer used once.

    Returns:
        A copy with its own weights and the same layer names.
    """
    inner = network.layers[1:]
    readers = Counter(map(id, keras.tree.flatten([*(layer.input for layer in inner), *network.outputs])))
    convolutions = {
        id(layer.output): layer.name
        for layer in inner
        if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D)
        and layer.activation is keras.activations.linear
    }
    norms = {
        convolutions[id(layer.input)]: layer
        for layer in inner
        if isinstance(layer, layers.BatchNormalization)
        and id(layer.input) in convolutions
        and readers[id(layer.input)] == 1
    }  # by the name of the convolution
    folded = {norm.name for norm in norms.values()}
    pairs: list[tuple[keras.Layer, keras.Layer]] = []

    def copy_layer(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config() | ({"use_bias": True} if layer.name in norms else {})
        pairs.append((layer, layer.__class__.from_config(config)))
        return pairs[-1][1]

    def call_layer(layer: keras.Layer, *args: Any, **options: Any) -> Any:
        return args[0] if layer.name in folded else layer(*args, **options)

    copy = keras.models.clone_model(network, clone_function=copy_layer, call_function=call_layer)
    for layer, layer_copy in pairs:
        if layer.name in norms:
            norm = norms[layer.name]
            *affine, mean, variance = norm.get_weights()
            gamma = affine[0] if norm.scale else 1.0
            beta = affine[-1] if norm.center else 0.0
            scale = gamma / np.sqrt(variance + norm.epsilon)
            kernel, *bias = layer.get_weights()
            is_depthwise = isinstance(layer, layers.DepthwiseConv2D)
            by_filter = scale.reshape(kernel.shape[2:]) if is_depthwise else scale
            layer_copy.set_weights([kernel * by_filter, scale * (sum(bias) - mean) + beta])
        elif layer.name not in folded:
            layer_copy.set_weights(layer.get_weights())
    return copy
