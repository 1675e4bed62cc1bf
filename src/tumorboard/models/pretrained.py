"""A pretrained backbone with a new head."""

from typing import Any

import keras
from keras import layers

from tumorboard.models.augmentation import augment
from tumorboard.models.backbones import build_backbone, preprocess, split_backbone
from tumorboard.models.folding import fold
from tumorboard.recipe import Image, Pretrained


def build(name: str, settings: Pretrained, image: Image, classes: int, seed: int) -> keras.Model:
    """Image -> augmentation -> preprocessing -> frozen trunk -> upper stages -> head.

    Args:
        name: The prefix of all layer names.
        settings: The recipe's section.
        image: The input's size.
        classes: Length of the answer.
        seed: For the augmentation and the head's first weights.
    """
    shape = (image.size, image.size, 3)
    backbone = build_backbone(settings.backbone, settings.weights, shape, name)
    if settings.norms == "folded":
        backbone = fold(backbone)
    trunk, upper = split_backbone(settings.backbone, backbone, settings.cut)
    if upper is not None:
        _hold(upper, settings)
    inputs = keras.Input(shape, name=f"{name}_image")
    x = augment(inputs, settings.augmentation, name, seed)
    x = preprocess(x, settings.backbone, settings.preprocessing, name)
    x = trunk(x, training=False)  # frozen: its batch norms keep the statistics they came with
    x = _pool_and_tap(x, upper, settings.pooling, name)
    x = layers.BatchNormalization(momentum=settings.momentum, name=f"{name}_norm")(x)
    x = link(x, settings.units, settings.dropout, name, seed)
    return keras.Model(inputs, classify(x, classes, name, seed), name=name)


def _hold(upper: keras.Model, settings: Pretrained) -> None:
    """What stays frozen above the cut. A fitted norm must follow the features within few epochs."""
    for layer in upper.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = settings.norms == "trained"
            layer.momentum = settings.momentum
        elif isinstance(layer, layers.DepthwiseConv2D):
            layer.trainable = settings.depthwise == "trained"


def _pool_and_tap(x: Any, upper: keras.Model | None, pooling: str, name: str) -> Any:
    """The frozen tensor is as late, and so as small, as the cut allows."""
    pool = {"max": layers.GlobalMaxPooling2D, "average": layers.GlobalAveragePooling2D}[pooling]
    if upper is None:
        x = layers.Identity(name=f"{name}_feature_map")(x)
        x = pool(name=f"{name}_pool")(x)
        return layers.Identity(name=f"{name}_frozen")(x)
    x = upper(layers.Identity(name=f"{name}_frozen")(x))
    x = layers.Identity(name=f"{name}_feature_map")(x)
    return pool(name=f"{name}_pool")(x)


def link(x: Any, units: int, dropout: float, name: str, seed: int) -> Any:
    """Dense and Dropout; the Dropout's output is the embedding."""
    start = keras.initializers.GlorotUniform(seed=seed + 1)
    x = layers.Dense(units, activation="relu", kernel_initializer=start, name=f"{name}_dense")(x)
    return layers.Dropout(dropout, seed=seed + 2, name=f"{name}_embedding")(x)


def classify(x: Any, classes: int, name: str, seed: int) -> Any:
    """The last layer: an embedding to class probabilities."""
    start = keras.initializers.GlorotUniform(seed=seed + 3)
    return layers.Dense(
        classes, activation="softmax", kernel_initializer=start, name=f"{name}_probabilities"
    )(x)
