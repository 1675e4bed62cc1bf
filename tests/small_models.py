"""Small networks of every kind, built in a fraction of a second, that keep the spec."""

import keras
import numpy as np
import pytest
from keras import layers

from tumorboard.config import Augmentation, Chained, Custom, Image, Pretrained
from tumorboard.ensembles.combination import CombinationRule
from tumorboard.ensembles.ensemble import build_chain, build_ensemble
from tumorboard.models.architectures import build_network
from tumorboard.models.backbones import BACKBONES, Backbone
from tumorboard.models.model_spec import ModelSpec

CLASSES = ("a", "b", "c")
IMAGE = Image(size=32)

FLIP = Augmentation(rotation=0, zoom=0)  # the other kinds take seconds to trace
PRETRAINED = Pretrained(backbone="tiny", weights="none", units=8, augmentation=FLIP)
CUT = PRETRAINED.model_copy(update={"cut": "block1", "pooling": "average"})
NOTEBOOK = Custom(design="notebook", augmentation=FLIP)
CHAINED = Chained(units=8)
RESIDUAL = Custom(design="residual", augmentation=Augmentation(translation=0.1, contrast=0.2))


def _tiny(weights, include_top, input_shape):
    """A stand-in for a backbone: two stages and a batch norm, 180 times smaller than the smallest."""
    image = keras.Input(input_shape)
    first, second = (keras.initializers.GlorotUniform(seed) for seed in (1, 2))
    x = layers.Conv2D(4, 5, 4, activation="relu", kernel_initializer=first, name="block1_conv")(image)
    x = layers.Conv2D(6, 3, 2, kernel_initializer=second, name="block2_conv")(x)
    return keras.Model(image, layers.BatchNormalization(name="block2_norm")(x))


def member(name, settings=PRETRAINED, seed=0, class_names=CLASSES, image=IMAGE):
    """A model as `storing.load` gives it: the network and its spec."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "tiny", Backbone(_tiny, "lite", ("block1_", "block2_")))
        model = build_network(name, settings, image, len(class_names), seed)
    return model, ModelSpec(name, settings.kind, class_names, image)


def joined(name, members, form, **options):
    """An ensemble as a member."""
    return build_ensemble(name, members, CombinationRule(form, **options)), ModelSpec(
        name, "ensemble", CLASSES, members[0][1].image
    )


def chained(name, links, settings=CHAINED, seed=0):
    """A chain as a member."""
    return build_chain(name, links, settings, seed), ModelSpec(name, "chained", CLASSES, links[0][1].image)


def pixels(count, seed=0, size=IMAGE.size):
    """Random raw images, uint8 (count, size, size, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)
