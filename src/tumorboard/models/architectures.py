"""Networks of a recipe: a pretrained backbone with a new head, and two networks trained from scratch.

Every builder keeps the layer names of `model_spec`; layer names are part of saved files.
"""

from typing import Any

import keras
from keras import layers

from tumorboard.config import Custom, Image, Pretrained
from tumorboard.models.augmentation import augment
from tumorboard.models.backbones import build_backbone, preprocess, split_backbone
from tumorboard.models.batchnorm_folding import fold_batchnorm


def build_network(
    name: str, settings: Pretrained | Custom, image: Image, classes: int, seed: int
) -> keras.Model:
    """Build an untrained network; the same seed gives the same initial weights.

    Args:
        name: The model's name, the prefix of all layer names.
        settings: The model's section of the recipe.
        image: The image settings, which give the input size.
        classes: Number of classes.
        seed: Seed of the augmentation, the dropout and the initial weights of the new layers.
    """
    if settings.kind == "pretrained":
        return build_pretrained(name, settings, image, classes, seed)
    return build_custom(name, settings, image, classes, seed)


def build_pretrained(name: str, settings: Pretrained, image: Image, classes: int, seed: int) -> keras.Model:
    """Build image -> augmentation -> preprocessing -> frozen trunk -> trainable stages -> head."""
    shape = (image.size, image.size, 3)
    backbone = build_backbone(settings.backbone, settings.weights, shape, name)
    if settings.norms == "folded":
        backbone = fold_batchnorm(backbone)
    trunk, upper = split_backbone(settings.backbone, backbone, settings.cut)
    inputs = keras.Input(shape, name=f"{name}_image")
    x = augment(inputs, settings.augmentation, name, seed)
    x = preprocess(x, settings.backbone, settings.preprocessing, name)
    x = trunk(x, training=False)  # frozen: its batch norms keep their statistics
    if upper is not None:
        for layer in upper.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.trainable = settings.norms == "trained"
                layer.momentum = settings.momentum  # low enough to follow the features within few epochs
            elif isinstance(layer, layers.DepthwiseConv2D):
                layer.trainable = settings.depthwise == "trained"
        x = upper(layers.Identity(name=f"{name}_frozen")(x))
    x = layers.Identity(name=f"{name}_feature_map")(x)
    pooling = {"max": layers.GlobalMaxPooling2D, "average": layers.GlobalAveragePooling2D}[settings.pooling]
    x = pooling(name=f"{name}_pool")(x)
    if upper is None:  # the last frozen tensor is then the pooled one, which takes less disk to cache
        x = layers.Identity(name=f"{name}_frozen")(x)
    if settings.head == "lda":
        x = layers.Identity(name=f"{name}_embedding")(x)
        return keras.Model(inputs, classifier(x, classes, name, seed), name=name)
    x = layers.BatchNormalization(momentum=settings.momentum, name=f"{name}_norm")(x)
    x = embedding_layers(x, settings.units, settings.dropout, name, seed)
    return keras.Model(inputs, classifier(x, classes, name, seed), name=name)


def embedding_layers(x: Any, units: int, dropout: float, name: str, seed: int) -> Any:
    """Apply Dense and Dropout; the output of the Dropout is the embedding."""
    initializer = keras.initializers.GlorotUniform(seed=seed + 1)
    x = layers.Dense(units, activation="relu", kernel_initializer=initializer, name=f"{name}_dense")(x)
    return layers.Dropout(dropout, seed=seed + 2, name=f"{name}_embedding")(x)


def classifier(x: Any, classes: int, name: str, seed: int) -> Any:
    """Apply the last layer, which turns an embedding into class probabilities."""
    initializer = keras.initializers.GlorotUniform(seed=seed + 3)
    return layers.Dense(
        classes, activation="softmax", kernel_initializer=initializer, name=f"{name}_probabilities"
    )(x)


def build_custom(name: str, settings: Custom, image: Image, classes: int, seed: int) -> keras.Model:
    """Build the network of the design that the recipe names."""
    embed = {"notebook": notebook_layers, "residual": residual_layers}[settings.design]
    inputs = keras.Input((image.size, image.size, 3), name=f"{name}_image")
    embedding = embed(inputs, name, settings, seed)
    return keras.Model(inputs, classifier(embedding, classes, name, seed), name=name)


def notebook_layers(x: Any, name: str, settings: Custom, seed: int) -> Any:
    """Apply the second network of the original study, layer by layer."""

    def convolve(x: Any, filters: int, number: int) -> Any:
        initializer = keras.initializers.GlorotUniform(seed=seed + 10 + number)
        x = layers.Conv2D(
            filters, 3, activation="relu", kernel_initializer=initializer, name=f"{name}_conv{number}"
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
    initializer = keras.initializers.GlorotUniform(seed=seed + 22)
    x = layers.Dense(128, activation="relu", kernel_initializer=initializer, name=f"{name}_dense")(x)
    return layers.Dropout(settings.dropout, seed=seed + 23, name=f"{name}_embedding")(x)


def residual_layers(x: Any, name: str, settings: Custom, seed: int) -> Any:
    """Apply a half-size grey image, two stem blocks, three residual stages (He et al. 2016) and pooling.

    Downsampling and conversion to grey come before the augmentation: they are computed once and cached.
    """
    x = layers.AveragePooling2D(2, name=f"{name}_shrink")(x)
    # The mean of the three channels as a frozen 1x1 convolution: a public layer, which loads in safe mode.
    third = keras.initializers.Constant(1 / 3)
    x = layers.Conv2D(1, 1, use_bias=False, kernel_initializer=third, trainable=False, name=f"{name}_grey")(x)
    x = layers.Identity(name=f"{name}_frozen")(x)
    x = augment(x, settings.augmentation, name, seed)
    x = layers.Rescaling(1 / 64, offset=-1, name=f"{name}_rescale")(x)
    x = _conv_norm_act(x, 24, f"{name}_stem1", seed + 10, strides=2)
    x = _conv_norm_act(x, 48, f"{name}_stem2", seed + 11, strides=2)
    for number, filters in enumerate((48, 96, 192)):
        prefix, block_seed, strides = f"{name}_stage{number + 1}", seed + 20 + 4 * number, 2 if number else 1
        shortcut = x
        if strides != 1 or x.shape[-1] != filters:
            initializer = keras.initializers.HeNormal(seed=block_seed + 2)
            shortcut = layers.AveragePooling2D(strides, padding="same", name=f"{prefix}_skip_pool")(x)
            shortcut = layers.Conv2D(
                filters, 1, use_bias=False, kernel_initializer=initializer, name=f"{prefix}_skip_conv"
            )(shortcut)
        y = _conv_norm_act(x, filters, f"{prefix}_a", block_seed, strides)
        y = _conv_norm_act(y, filters, f"{prefix}_b", block_seed + 1, activation="linear")
        x = layers.Add(name=f"{prefix}_add")([shortcut, y])
        x = layers.Activation("relu", name=f"{prefix}_act")(x)
    x = layers.Identity(name=f"{name}_feature_map")(x)
    x = layers.GlobalAveragePooling2D(name=f"{name}_pool")(x)
    return layers.Dropout(settings.dropout, seed=seed + 40, name=f"{name}_embedding")(x)


def _conv_norm_act(
    x: Any, filters: int, name: str, seed: int, strides: int = 1, activation: str = "relu"
) -> Any:
    initializer = keras.initializers.HeNormal(seed=seed)
    x = layers.Conv2D(
        filters, 3, strides, "same", use_bias=False, kernel_initializer=initializer, name=f"{name}_conv"
    )(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    return layers.Activation(activation, name=f"{name}_act")(x)
