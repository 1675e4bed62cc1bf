"""A pretrained backbone with a new head."""

from typing import Any

import keras
from keras import layers

from tumorboard.config import Custom, Image, Pretrained
from tumorboard.models.augmentation import augment
from tumorboard.models.backbones import build_backbone, preprocess, split_backbone
from tumorboard.models.batchnorm_folding import fold_batchnorm


def build_pretrained(name: str, settings: Pretrained, image: Image, classes: int, seed: int) -> keras.Model:
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
        backbone = fold_batchnorm(backbone)
    trunk, upper = split_backbone(settings.backbone, backbone, settings.cut)
    if upper is not None:
        _hold(upper, settings)
    inputs = keras.Input(shape, name=f"{name}_image")
    x = augment(inputs, settings.augmentation, name, seed)
    x = preprocess(x, settings.backbone, settings.preprocessing, name)
    x = trunk(x, training=False)  # frozen: its batch norms keep the statistics they came with
    x = _pool_and_tap(x, upper, settings.pooling, name)
    x = layers.BatchNormalization(momentum=settings.momentum, name=f"{name}_norm")(x)
    x = embedding_layers(x, settings.units, settings.dropout, name, seed)
    return keras.Model(inputs, classifier(x, classes, name, seed), name=name)


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


def embedding_layers(x: Any, units: int, dropout: float, name: str, seed: int) -> Any:
    """Dense and Dropout; the Dropout's output is the embedding."""
    start = keras.initializers.GlorotUniform(seed=seed + 1)
    x = layers.Dense(units, activation="relu", kernel_initializer=start, name=f"{name}_dense")(x)
    return layers.Dropout(dropout, seed=seed + 2, name=f"{name}_embedding")(x)


def classifier(x: Any, classes: int, name: str, seed: int) -> Any:
    """The last layer: an embedding to class probabilities."""
    start = keras.initializers.GlorotUniform(seed=seed + 3)
    return layers.Dense(
        classes, activation="softmax", kernel_initializer=start, name=f"{name}_probabilities"
    )(x)


def build_custom(name: str, settings: Custom, image: Image, classes: int, seed: int) -> keras.Model:
    """Build the design that the recipe names; arguments as for `pretrained.build`."""
    designs = {"notebook": _notebook, "residual": _residual}
    inputs = keras.Input((image.size, image.size, 3), name=f"{name}_image")
    embedding = designs[settings.design](inputs, name, settings, seed)
    return keras.Model(inputs, classifier(embedding, classes, name, seed), name=name)


def _notebook(x: Any, name: str, settings: Custom, seed: int) -> Any:
    """The study's second model, layer by layer."""

    def convolve(x: Any, filters: int, number: int) -> Any:
        start = keras.initializers.GlorotUniform(seed=seed + 10 + number)
        x = layers.Conv2D(
            filters, 3, activation="relu", kernel_initializer=start, name=f"{name}_conv{number}"
        )(x)
        return layers.MaxPooling2D(name=f"{name}_pool{number}")(x)

    x = augment(x, settings.augmentation, name, seed)
    x = layers.Rescaling(1 / 255, name=f"{name}_rescale")(x)
    x = convolve(x, 32, 1)
    x = convolve(x, 32, 2)
    x = layers.Dropout(settings.dropout, seed=seed + 20, name=f"{name}_dropout1")(x)
    x = convolve(x, 64, 3)
    x = layers.Dropout(settings.dropout, seed=seed + 21, name=f"{name}_dropout2")(x)
    x = layers.Identity(name=f"{name}_feature_map")(x)
    x = layers.Flatten(name=f"{name}_flatten")(x)
    start = keras.initializers.GlorotUniform(seed=seed + 22)
    x = layers.Dense(128, activation="relu", kernel_initializer=start, name=f"{name}_dense")(x)
    return layers.Dropout(settings.dropout, seed=seed + 23, name=f"{name}_embedding")(x)


def _residual(x: Any, name: str, settings: Custom, seed: int) -> Any:
    """Half-size grey image, two stride-2 stem blocks, three residual stages, global pooling.

    Shrinking and greying come before the augmentation: they are the part computed once.
    """
    x = layers.AveragePooling2D(2, name=f"{name}_shrink")(x)
    x = _grey(x, name)
    x = layers.Identity(name=f"{name}_frozen")(x)
    x = augment(x, settings.augmentation, name, seed)
    x = layers.Rescaling(1 / 64, offset=-1, name=f"{name}_rescale")(x)
    x = _unit(x, 24, f"{name}_stem1", seed + 10, strides=2)
    x = _unit(x, 48, f"{name}_stem2", seed + 11, strides=2)
    for stage, filters in enumerate((48, 96, 192)):
        x = _block(
            x, filters, f"{name}_stage{stage + 1}", seed + 20 + 4 * stage, strides=1 if stage == 0 else 2
        )
    x = layers.Identity(name=f"{name}_feature_map")(x)
    x = layers.GlobalAveragePooling2D(name=f"{name}_pool")(x)
    return layers.Dropout(settings.dropout, seed=seed + 40, name=f"{name}_embedding")(x)


def _grey(x: Any, name: str) -> Any:
    """The mean of the three channels, as a frozen 1x1 convolution: a public layer that anyone can load."""
    third = keras.initializers.Constant(1 / 3)
    return layers.Conv2D(
        1, 1, use_bias=False, kernel_initializer=third, trainable=False, name=f"{name}_grey"
    )(x)


def _unit(x: Any, filters: int, name: str, seed: int, strides: int = 1, activation: str = "relu") -> Any:
    """Convolution, batch norm, activation."""
    start = keras.initializers.HeNormal(seed=seed)
    x = layers.Conv2D(
        filters, 3, strides, "same", use_bias=False, kernel_initializer=start, name=f"{name}_conv"
    )(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    return layers.Activation(activation, name=f"{name}_act")(x)


def _block(x: Any, filters: int, name: str, seed: int, strides: int) -> Any:
    """Two units around a shortcut (He et al. 2016)."""
    shortcut = x
    if strides != 1 or x.shape[-1] != filters:
        start = keras.initializers.HeNormal(seed=seed + 2)
        shortcut = layers.AveragePooling2D(strides, name=f"{name}_skip_pool")(x)
        shortcut = layers.Conv2D(
            filters, 1, use_bias=False, kernel_initializer=start, name=f"{name}_skip_conv"
        )(shortcut)
    y = _unit(x, filters, f"{name}_a", seed, strides)
    y = _unit(y, filters, f"{name}_b", seed + 1, activation="linear")
    x = layers.Add(name=f"{name}_add")([shortcut, y])
    return layers.Activation("relu", name=f"{name}_act")(x)


BUILDERS = {"pretrained": build_pretrained, "custom": build_custom}


def build_network(
    name: str, settings: Pretrained | Custom, image: Image, classes: int, seed: int
) -> keras.Model:
    """A fresh model that keeps the spec; the same seed gives the same first weights."""
    return BUILDERS[settings.kind](name, settings, image, classes, seed)  # type: ignore[operator]
