"""The two builders."""

import keras

from tumorboard.models import custom, pretrained
from tumorboard.recipe import Custom, Image, Pretrained

BUILDERS = {"pretrained": pretrained.build, "custom": custom.build}


def build(name: str, settings: Pretrained | Custom, image: Image, classes: int, seed: int) -> keras.Model:
    """A fresh model that keeps the contract; the same seed gives the same first weights."""
    return BUILDERS[settings.kind](name, settings, image, classes, seed)  # type: ignore[operator]
