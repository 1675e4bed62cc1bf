"""The backbones by name, how each wants its pixels, and where it can be cut; known without Keras."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tumorboard.errors import RecipeError

if TYPE_CHECKING:
    import keras

EMBEDDED = "efficientnet-lite0"
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


def require_known(name: str, weights: str) -> None:
    """What can be told of a backbone without building it.

    Raises:
        RecipeError: An unknown name.
        ModelError: A weights file that is none.
    """
    find(name)
    if weights not in NAMED_WEIGHTS:
        from tumorboard.models.weights_file import require  # Keras, seconds to import

        require(Path(weights))


def stages_of(name: str) -> tuple[str, ...]:
    """Where a backbone can be cut, from input to output; "top" is the last.

    Raises:
        RecipeError: An unknown name.
    """
    return (*(start.rstrip("_") for start in find(name).stages), "top")
