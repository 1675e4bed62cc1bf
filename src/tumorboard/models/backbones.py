"""Backbones: networks trained on ImageNet, without their classifiers, each with its own preprocessing.

`efficientnet-lite0` comes with the package. The others are keras.applications', whose weights Keras fetches
on first use. Which there are: catalogue.py; where each comes from and can be cut: docs/backbones.md.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import keras

from tumorboard.errors import ModelError, RecipeError
from tumorboard.models import efficientnet_lite
from tumorboard.models.catalogue import EMBEDDED, NAMED_WEIGHTS, find, stages_of
from tumorboard.models.fetching import fetch
from tumorboard.models.preprocessing import OWN, unit
from tumorboard.models.weights_file import load_embedded, load_file


def preprocess(x: Any, name: str, mode: Literal["own", "unit"], prefix: str) -> Any:
    """Raw pixels, (N, H, W, 3) RGB 0-255, to what the backbone is given.

    Args:
        x: A Keras tensor.
        name: A key of `catalogue.BACKBONES`.
        mode: "own": what its weights were trained with; "unit": x / 255, as in the original study.
        prefix: Of the layers' names.

    Raises:
        RecipeError: An unknown name, or "unit" for a backbone that scales by itself.
    """
    scaling = find(name).scaling
    if mode == "own":
        return OWN[scaling](x, prefix)
    if scaling == "inside":
        raise RecipeError(f'{name} scales its input itself: expected preprocessing = "own", found "unit"')
    return unit(x, prefix)


def build_backbone(name: str, weights: str, input_shape: tuple[int, int, int], prefix: str) -> keras.Model:
    """A backbone without classifier and pooling.

    Args:
        name: A key of `catalogue.BACKBONES`.
        weights: "imagenet", "none" (random), or a weights file.
        input_shape: Height, width, 3. Values as `preprocess` gives them.
        prefix: The model is named `{prefix}_backbone`.

    Returns:
        A Functional model, (N, H, W, 3) -> (N, h, w, features).

    Raises:
        RecipeError: An unknown name, or an image size that the network does not take.
        ModelError: Weights that are missing, damaged or of another network.
    """
    builder = find(name).builder
    if weights not in NAMED_WEIGHTS:
        _refuse_ambiguous(name)
    if builder is None:
        network = efficientnet_lite.build(input_shape, prefix)
    else:  # first without weights, to tell an unfit image size from unfit weights
        network = _build(name, builder, input_shape)
        network = fetch(name, builder, input_shape) if weights == "imagenet" else network
    backbone = keras.Model(network.input, network.output, name=f"{prefix}_backbone")
    if weights == "imagenet" and name == EMBEDDED:
        load_embedded(backbone, "efficientnet_lite0")
    elif weights not in NAMED_WEIGHTS:
        load_file(backbone, Path(weights))
    return backbone


def split_backbone(name: str, backbone: keras.Model, stage: str) -> tuple[keras.Model, keras.Model | None]:
    """Cut a backbone behind a stage and freeze what lies before.

    Args:
        name: Its key in `catalogue.BACKBONES`.
        backbone: From `build_backbone`; the parts share its layers.
        stage: One of the entry's stages, "top" for everything, or "upper": see `_upper`.

    Returns:
        The frozen trunk, image -> stage, and the tail, stage -> features (None behind "top").

    Raises:
        RecipeError: An unknown stage; lists the known ones.
    """
    prefix = backbone.name.removesuffix("_backbone")
    trunk, tail = backbone, None
    if stage == "upper":
        stage = _upper(name, backbone)
    if stage != "top":
        cut = _last_layer(name, backbone, stage).output
        trunk = keras.Model(backbone.input, cut, name=f"{prefix}_trunk")
        tail = keras.Model(cut, backbone.output, name=f"{prefix}_tail")
    trunk.trainable = False
    return trunk, tail


def _upper(name: str, backbone: keras.Model) -> str:
    """The last stage whose map is at least the entry's `upper` times the final one; "top" if there is none.

    Behind it lie the features that are most about ImageNet, and the smaller share of the arithmetic.
    """
    final = backbone.output.shape[1]
    for stage in reversed(stages_of(name)[:-1]):
        if _last_layer(name, backbone, stage).output.shape[1] >= find(name).upper * final:
            return stage
    return "top"


def _last_layer(name: str, backbone: keras.Model, stage: str) -> keras.Layer:
    known = dict(zip(stages_of(name), find(name).stages, strict=False))
    if stage not in known:
        stages = ", ".join((*stages_of(name), "upper"))
        raise RecipeError(f"expected a stage of {name} ({stages}), found {stage[:60]!r}")
    prefix = backbone.name.removesuffix("_backbone") + "_"
    return [one for one in backbone.layers if one.name.removeprefix(prefix).startswith(known[stage])][-1]


def _build(name: str, builder: Callable[..., keras.Model], input_shape: tuple[int, int, int]) -> keras.Model:
    try:
        return builder(weights=None, include_top=False, input_shape=input_shape)
    except ValueError as error:
        raise RecipeError(f"{name} does not take images of {input_shape}: {str(error)[:150]}") from error


def _refuse_ambiguous(name: str) -> None:
    """Keras inserts a scaling that the file does not record, only for its own weights."""
    if name.startswith("efficientnet-b"):
        raise ModelError(
            f"{name} takes no weights file, for Keras scales its input by where the weights come from; "
            "expected imagenet or none, or another backbone"
        )
