"""The backbones by name, how each wants its pixels, and where it can be cut."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
from keras import applications

from tumorboard.errors import RecipeError
from tumorboard.models.preprocessing import Scaling

EMBEDDED = "efficientnet-lite0"


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

    builder: Callable[..., keras.Model] | None
    scaling: Scaling
    stages: tuple[str, ...] = ()
    upper: int = 2


def _numbered(pattern: str, first: int, last: int) -> tuple[str, ...]:
    return tuple(pattern.format(number) for number in range(first, last + 1))


_RESNET = _numbered("conv{}_", 2, 4)
_DENSENET = _numbered("pool{}_", 2, 4)
_EFFICIENTNET = _numbered("block{}", 1, 7)
_VGG = _numbered("block{}_", 1, 4)

BACKBONES = {
    EMBEDDED: Backbone(None, "lite", _EFFICIENTNET, upper=4),  # its upper stages cost little
    "resnet50": Backbone(applications.ResNet50, "caffe", _RESNET),
    "resnet101": Backbone(applications.ResNet101, "caffe", _RESNET),
    "resnet152": Backbone(applications.ResNet152, "caffe", _RESNET),
    "resnet50-v2": Backbone(applications.ResNet50V2, "tf", _RESNET),
    "resnet101-v2": Backbone(applications.ResNet101V2, "tf", _RESNET),
    "resnet152-v2": Backbone(applications.ResNet152V2, "tf", _RESNET),
    "densenet121": Backbone(applications.DenseNet121, "torch", _DENSENET),
    "densenet169": Backbone(applications.DenseNet169, "torch", _DENSENET),
    "densenet201": Backbone(applications.DenseNet201, "torch", _DENSENET),
    "efficientnet-b0": Backbone(applications.EfficientNetB0, "inside", _EFFICIENTNET),
    "efficientnet-b1": Backbone(applications.EfficientNetB1, "inside", _EFFICIENTNET),
    "efficientnet-b2": Backbone(applications.EfficientNetB2, "inside", _EFFICIENTNET),
    "efficientnet-b3": Backbone(applications.EfficientNetB3, "inside", _EFFICIENTNET),
    "efficientnet-b4": Backbone(applications.EfficientNetB4, "inside", _EFFICIENTNET),
    "efficientnet-b5": Backbone(applications.EfficientNetB5, "inside", _EFFICIENTNET),
    "efficientnet-b6": Backbone(applications.EfficientNetB6, "inside", _EFFICIENTNET),
    "efficientnet-b7": Backbone(applications.EfficientNetB7, "inside", _EFFICIENTNET),
    "efficientnet-v2-b0": Backbone(applications.EfficientNetV2B0, "inside", _EFFICIENTNET[:6]),
    "efficientnet-v2-b1": Backbone(applications.EfficientNetV2B1, "inside", _EFFICIENTNET[:6]),
    "efficientnet-v2-b2": Backbone(applications.EfficientNetV2B2, "inside", _EFFICIENTNET[:6]),
    "efficientnet-v2-b3": Backbone(applications.EfficientNetV2B3, "inside", _EFFICIENTNET[:6]),
    "efficientnet-v2-s": Backbone(applications.EfficientNetV2S, "inside", _EFFICIENTNET[:6]),
    "efficientnet-v2-m": Backbone(applications.EfficientNetV2M, "inside", _EFFICIENTNET),
    "efficientnet-v2-l": Backbone(applications.EfficientNetV2L, "inside", _EFFICIENTNET),
    "mobilenet": Backbone(applications.MobileNet, "tf", _numbered("conv_pw_{}_", 1, 12)),
    "mobilenet-v2": Backbone(applications.MobileNetV2, "tf", _numbered("block_{}_", 1, 16)),
    "mobilenet-v3-small": Backbone(
        applications.MobileNetV3Small, "inside", _numbered("expanded_conv_{}_", 1, 10)
    ),
    "mobilenet-v3-large": Backbone(
        applications.MobileNetV3Large, "inside", _numbered("expanded_conv_{}_", 1, 14)
    ),
    "convnext-tiny": Backbone(applications.ConvNeXtTiny, "inside"),
    "convnext-small": Backbone(applications.ConvNeXtSmall, "inside"),
    "convnext-base": Backbone(applications.ConvNeXtBase, "inside"),
    "convnext-large": Backbone(applications.ConvNeXtLarge, "inside"),
    "inception-v3": Backbone(applications.InceptionV3, "tf", ("mixed2", "mixed7")),
    "inception-resnet-v2": Backbone(applications.InceptionResNetV2, "tf", ("block35_", "block17_")),
    "xception": Backbone(applications.Xception, "tf"),
    "vgg16": Backbone(applications.VGG16, "caffe", _VGG),
    "vgg19": Backbone(applications.VGG19, "caffe", _VGG),
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


def stages_of(name: str) -> tuple[str, ...]:
    """Where a backbone can be cut, from input to output; "top" is the last.

    Raises:
        RecipeError: An unknown name.
    """
    return (*(start.rstrip("_") for start in find(name).stages), "top")
