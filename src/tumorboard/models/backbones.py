"""The backbones by name, how each wants its pixels, and where it can be cut; known without Keras."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np
from keras import layers

from tumorboard.errors import ModelError, RecipeError
from tumorboard.models import efficientnet_lite
from tumorboard.models.pretrained_weights import EMBEDDED, fetch, load_embedded, load_file, require

if TYPE_CHECKING:
    import keras


NAMED_WEIGHTS = frozenset({"imagenet", "none"})  # no files
Scaling = Literal["caffe", "tf", "torch", "lite", "inside"]


@dataclass(frozen=True)
class Backbone:
    """A network and how it wants its pixels.

    Args:
        builder: Of keras.applications; the embedded one has its own.
        scaling: What its weights were trained with, see `preprocess`; "inside": it scales by itself.
        stages: Where it can be cut, from input to output: the beginnings of the layers' names.
            Empty where no layer's name tells (blocks that end in an unnamed sum).
        upper: Where the cut "upper" lies: behind the last stage of so many times the final resolution.
    """

    builder: "Callable[..., keras.Model] | None"
    scaling: Scaling
    stages: tuple[str, ...] = ()
    upper: int = 2


def _numbered(pattern: str, first: int, last: int) -> tuple[str, ...]:
    return tuple(pattern.format(number) for number in range(first, last + 1))


def _application(name: str, **options: Any) -> "keras.Model":
    import keras

    built: keras.Model = getattr(keras.applications, name)(**options)
    return built


def _keras(name: str) -> "Callable[..., keras.Model]":
    """A network of keras.applications; Keras, seconds to import, is needed only when it is built."""
    return functools.partial(_application, name)


_RESNET = _numbered("conv{}_", 2, 4)
_DENSENET = _numbered("pool{}_", 2, 4)
_EFFICIENTNET = _numbered("block{}", 1, 7)
_VGG = _numbered("block{}_", 1, 4)

BACKBONES = {
    EMBEDDED: Backbone(None, "lite", _EFFICIENTNET, upper=4),  # its upper stages cost little
    "resnet50": Backbone(_keras("ResNet50"), "caffe", _RESNET),
    "resnet101": Backbone(_keras("ResNet101"), "caffe", _RESNET),
    "resnet152": Backbone(_keras("ResNet152"), "caffe", _RESNET),
    "resnet50-v2": Backbone(_keras("ResNet50V2"), "tf", _RESNET),
    "resnet101-v2": Backbone(_keras("ResNet101V2"), "tf", _RESNET),
    "resnet152-v2": Backbone(_keras("ResNet152V2"), "tf", _RESNET),
    "densenet121": Backbone(_keras("DenseNet121"), "torch", _DENSENET),
    "densenet169": Backbone(_keras("DenseNet169"), "torch", _DENSENET),
    "densenet201": Backbone(_keras("DenseNet201"), "torch", _DENSENET),
    "efficientnet-b0": Backbone(_keras("EfficientNetB0"), "inside", _EFFICIENTNET),
    "efficientnet-b1": Backbone(_keras("EfficientNetB1"), "inside", _EFFICIENTNET),
    "efficientnet-b2": Backbone(_keras("EfficientNetB2"), "inside", _EFFICIENTNET),
    "efficientnet-b3": Backbone(_keras("EfficientNetB3"), "inside", _EFFICIENTNET),
    "efficientnet-b4": Backbone(_keras("EfficientNetB4"), "inside", _EFFICIENTNET),
    "efficientnet-b5": Backbone(_keras("EfficientNetB5"), "inside", _EFFICIENTNET),
    "efficientnet-b6": Backbone(_keras("EfficientNetB6"), "inside", _EFFICIENTNET),
    "efficientnet-b7": Backbone(_keras("EfficientNetB7"), "inside", _EFFICIENTNET),
    "efficientnet-v2-b0": Backbone(_keras("EfficientNetV2B0"), "inside", _EFFICIENTNET[:6]),
    "efficientnet-v2-b1": Backbone(_keras("EfficientNetV2B1"), "inside", _EFFICIENTNET[:6]),
    "efficientnet-v2-b2": Backbone(_keras("EfficientNetV2B2"), "inside", _EFFICIENTNET[:6]),
    "efficientnet-v2-b3": Backbone(_keras("EfficientNetV2B3"), "inside", _EFFICIENTNET[:6]),
    "efficientnet-v2-s": Backbone(_keras("EfficientNetV2S"), "inside", _EFFICIENTNET[:6]),
    "efficientnet-v2-m": Backbone(_keras("EfficientNetV2M"), "inside", _EFFICIENTNET),
    "efficientnet-v2-l": Backbone(_keras("EfficientNetV2L"), "inside", _EFFICIENTNET),
    "mobilenet": Backbone(_keras("MobileNet"), "tf", _numbered("conv_pw_{}_", 1, 12)),
    "mobilenet-v2": Backbone(_keras("MobileNetV2"), "tf", _numbered("block_{}_", 1, 16)),
    "mobilenet-v3-small": Backbone(
        _keras("MobileNetV3Small"), "inside", _numbered("expanded_conv_{}_", 1, 10)
    ),
    "mobilenet-v3-large": Backbone(
        _keras("MobileNetV3Large"), "inside", _numbered("expanded_conv_{}_", 1, 14)
    ),
    "convnext-tiny": Backbone(_keras("ConvNeXtTiny"), "inside"),
    "convnext-small": Backbone(_keras("ConvNeXtSmall"), "inside"),
    "convnext-base": Backbone(_keras("ConvNeXtBase"), "inside"),
    "convnext-large": Backbone(_keras("ConvNeXtLarge"), "inside"),
    "inception-v3": Backbone(_keras("InceptionV3"), "tf", ("mixed2", "mixed7")),
    "inception-resnet-v2": Backbone(_keras("InceptionResNetV2"), "tf", ("block35_", "block17_")),
    "xception": Backbone(_keras("Xception"), "tf"),
    "vgg16": Backbone(_keras("VGG16"), "caffe", _VGG),
    "vgg19": Backbone(_keras("VGG19"), "caffe", _VGG),
}


def find(name: str) -> Backbone:
    """The entry of that name.

    Raises:
        RecipeError: There is none.
    """
    if name not in BACKBONES:
        some = ", ".join([EMBEDDED, "resnet50", "densenet121", "efficientnet-b0", "mobilenet-v2"])
        rest = f"and {len(BACKBONES) - 5} more; see docs/backbones.md"
        raise RecipeError(f"expected a backbone ({some} {rest}), found {name[:60]!r}")
    return BACKBONES[name]


def check_backbone(name: str, weights: str) -> None:
    """What can be told of a backbone without building it.

    Raises:
        RecipeError: An unknown name.
        ModelError: A weights file that is none.
    """
    find(name)
    if weights not in NAMED_WEIGHTS:
        require(Path(weights))


def stages_of(name: str) -> tuple[str, ...]:
    """Where a backbone can be cut, from input to output; "top" is the last.

    Raises:
        RecipeError: An unknown name.
    """
    return (*(start.rstrip("_") for start in find(name).stages), "top")


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)


def unit(x: Any, prefix: str) -> Any:
    """Values x / 255, in 0-1; what the original study did before every network."""
    return layers.Rescaling(1 / 255, name=f"{prefix}_rescaling")(x)


def _caffe(x: Any, prefix: str) -> Any:
    """RGB to BGR minus the mean, -124 to 151: exact in float32, for all but one product of a sum are 0."""
    swap = layers.Conv2D(3, 1, trainable=False, name=f"{prefix}_to_bgr")
    y = swap(x)
    swap.set_weights([np.eye(3, dtype="float32")[::-1][None, None], -np.asarray(CAFFE_MEAN_BGR, "float32")])
    return y


def _tf(x: Any, prefix: str) -> Any:
    """Values x / 127.5 - 1, in -1 to 1."""
    return layers.Rescaling(1 / 127.5, offset=-1.0, name=f"{prefix}_rescaling")(x)


def _torch(x: Any, prefix: str) -> Any:
    """ImageNet's mean and deviation, about -2.1 to 2.6."""
    variance = [deviation**2 for deviation in IMAGENET_DEVIATION]
    normalise = layers.Normalization(
        mean=list(IMAGENET_MEAN), variance=variance, name=f"{prefix}_normalization"
    )
    return normalise(unit(x, prefix))


def _lite(x: Any, prefix: str) -> Any:
    """Values (x - 127) / 128, in -0.99 to 1; the evidence for it is in docs/backbones.md."""
    return layers.Rescaling(1 / 128, offset=-127 / 128, name=f"{prefix}_rescaling")(x)


OWN: dict[Scaling, Callable[[Any, str], Any]] = {
    "caffe": _caffe,
    "tf": _tf,
    "torch": _torch,
    "lite": _lite,
    "inside": lambda x, prefix: x,
}


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
