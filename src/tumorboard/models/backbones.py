"""Backbones by name: how to build them, the input values they expect, and where they can be cut.

Keras takes seconds to import; it is imported to build them, not to check a name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from tumorboard import backend
from tumorboard.data.image_cache import Images
from tumorboard.errors import ModelError, RecipeError
from tumorboard.models.pretrained_weights import (
    EMBEDDED,
    check_is_hdf5,
    fetch_imagenet,
    load_embedded,
    load_file,
)

if TYPE_CHECKING:
    import keras

NAMED_WEIGHTS = frozenset({"imagenet", "none"})  # not files
_BATCH = 32
Features = npt.NDArray[np.float32]
Scaling = Literal["caffe", "tf", "torch", "lite", "inside"]


@dataclass(frozen=True)
class Backbone:
    """A network and the input values that it expects.

    Args:
        builder: Function of `keras.applications`, or its name; None for the embedded network.
        scaling: Scaling of the input that its weights were trained with, see `preprocess`; "inside" if the
            network scales its input itself.
        stages: Where it can be cut, from input to output, as prefixes of layer names. Empty where the ends of
            the stages have no distinct names (blocks that end in an unnamed sum).
        upper: The cut "upper" lies behind the last stage whose resolution is at least `upper` times the final
            one.
    """

    builder: "Callable[..., keras.Model] | str | None"
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
    "resnet50": Backbone("ResNet50", "caffe", _RESNET),
    "resnet101": Backbone("ResNet101", "caffe", _RESNET),
    "resnet152": Backbone("ResNet152", "caffe", _RESNET),
    "resnet50-v2": Backbone("ResNet50V2", "tf", _RESNET),
    "resnet101-v2": Backbone("ResNet101V2", "tf", _RESNET),
    "resnet152-v2": Backbone("ResNet152V2", "tf", _RESNET),
    "densenet121": Backbone("DenseNet121", "torch", _DENSENET),
    "densenet169": Backbone("DenseNet169", "torch", _DENSENET),
    "densenet201": Backbone("DenseNet201", "torch", _DENSENET),
    "efficientnet-b0": Backbone("EfficientNetB0", "inside", _EFFICIENTNET),
    "efficientnet-b1": Backbone("EfficientNetB1", "inside", _EFFICIENTNET),
    "efficientnet-b2": Backbone("EfficientNetB2", "inside", _EFFICIENTNET),
    "efficientnet-b3": Backbone("EfficientNetB3", "inside", _EFFICIENTNET),
    "efficientnet-b4": Backbone("EfficientNetB4", "inside", _EFFICIENTNET),
    "efficientnet-b5": Backbone("EfficientNetB5", "inside", _EFFICIENTNET),
    "efficientnet-b6": Backbone("EfficientNetB6", "inside", _EFFICIENTNET),
    "efficientnet-b7": Backbone("EfficientNetB7", "inside", _EFFICIENTNET),
    "efficientnet-v2-b0": Backbone("EfficientNetV2B0", "inside", _EFFICIENTNET[:6]),
    "efficientnet-v2-b1": Backbone("EfficientNetV2B1", "inside", _EFFICIENTNET[:6]),
    "efficientnet-v2-b2": Backbone("EfficientNetV2B2", "inside", _EFFICIENTNET[:6]),
    "efficientnet-v2-b3": Backbone("EfficientNetV2B3", "inside", _EFFICIENTNET[:6]),
    "efficientnet-v2-s": Backbone("EfficientNetV2S", "inside", _EFFICIENTNET[:6]),
    "efficientnet-v2-m": Backbone("EfficientNetV2M", "inside", _EFFICIENTNET),
    "efficientnet-v2-l": Backbone("EfficientNetV2L", "inside", _EFFICIENTNET),
    "mobilenet": Backbone("MobileNet", "tf", _numbered("conv_pw_{}_", 1, 12)),
    "mobilenet-v2": Backbone("MobileNetV2", "tf", _numbered("block_{}_", 1, 16)),
    "mobilenet-v3-small": Backbone("MobileNetV3Small", "inside", _numbered("expanded_conv_{}_", 1, 10)),
    "mobilenet-v3-large": Backbone("MobileNetV3Large", "inside", _numbered("expanded_conv_{}_", 1, 14)),
    "convnext-tiny": Backbone("ConvNeXtTiny", "inside"),
    "convnext-small": Backbone("ConvNeXtSmall", "inside"),
    "convnext-base": Backbone("ConvNeXtBase", "inside"),
    "convnext-large": Backbone("ConvNeXtLarge", "inside"),
    "inception-v3": Backbone("InceptionV3", "tf", ("mixed2", "mixed7")),
    "inception-resnet-v2": Backbone("InceptionResNetV2", "tf", ("block35_", "block17_")),
    "xception": Backbone("Xception", "tf"),
    "vgg16": Backbone("VGG16", "caffe", _VGG),
    "vgg19": Backbone("VGG19", "caffe", _VGG),
}


def find_backbone(name: str) -> Backbone:
    """Return the entry of that name.

    Raises:
        RecipeError: Unknown name.
    """
    if name not in BACKBONES:
        some = ", ".join([EMBEDDED, "resnet50", "densenet121", "efficientnet-b0", "mobilenet-v2"])
        rest = f"and {len(BACKBONES) - 5} more; see docs/backbones.md"
        raise RecipeError(f"expected a backbone ({some} {rest}), found {name[:60]!r}")
    return BACKBONES[name]


def check_backbone(name: str, weights: str) -> None:
    """Check a backbone's name and weights as far as possible without building it.

    Raises:
        RecipeError: Unknown name.
        ModelError: The weights file is missing or not HDF5.
    """
    find_backbone(name)
    if weights not in NAMED_WEIGHTS:
        check_is_hdf5(Path(weights))


def stages_of(name: str) -> tuple[str, ...]:
    """Return the stages where a backbone can be cut, from input to output; the last is "top".

    Raises:
        RecipeError: Unknown name.
    """
    return (*(prefix.rstrip("_") for prefix in find_backbone(name).stages), "top")


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)


def preprocess(x: Any, name: str, mode: Literal["own", "unit"], prefix: str) -> Any:
    """Scale raw pixels, (N, H, W, 3) RGB 0-255, to the values that the backbone expects.

    The scalings are those of keras.applications: "tf" x / 127.5 - 1; "lite" (x - 127) / 128 (evidence in
    docs/backbones.md); "torch" x / 255 minus ImageNet's mean, divided by its standard deviation; "caffe" BGR
    minus the mean, exact in float32 because all but one product of each sum are 0.

    Args:
        x: A Keras tensor.
        name: A key of `BACKBONES`.
        mode: "own" for the scaling that the weights were trained with; "unit" for x / 255, as in the original
            study.
        prefix: Prefix of the layers' names.

    Raises:
        RecipeError: Unknown name, or "unit" for a backbone that scales its input itself.
    """
    from keras import layers

    scaling = find_backbone(name).scaling
    if scaling == "inside":
        if mode == "unit":
            raise RecipeError(f'{name} scales its input itself: expected preprocessing = "own", found "unit"')
        return x
    if mode == "own" and scaling == "caffe":
        swap = layers.Conv2D(3, 1, trainable=False, name=f"{prefix}_to_bgr")
        y = swap(x)
        kernel = np.eye(3, dtype="float32")[::-1][None, None]
        swap.set_weights([kernel, -np.asarray(CAFFE_MEAN_BGR, "float32")])
        return y
    rescaling = f"{prefix}_rescaling"
    if mode == "own" and scaling == "tf":
        return layers.Rescaling(1 / 127.5, offset=-1.0, name=rescaling)(x)
    if mode == "own" and scaling == "lite":
        return layers.Rescaling(1 / 128, offset=-127 / 128, name=rescaling)(x)
    x = layers.Rescaling(1 / 255, name=rescaling)(x)
    if mode == "unit":
        return x
    variance = [deviation**2 for deviation in IMAGENET_DEVIATION]
    return layers.Normalization(mean=list(IMAGENET_MEAN), variance=variance, name=f"{prefix}_normalization")(
        x
    )


def build_backbone(name: str, weights: str, input_shape: tuple[int, int, int], prefix: str) -> "keras.Model":
    """Build a backbone without classifier and pooling.

    Args:
        name: A key of `BACKBONES`.
        weights: "imagenet", "none" (random), or the path of a weights file.
        input_shape: Height, width, 3. Values as from `preprocess`.
        prefix: The model is named `{prefix}_backbone`.

    Returns:
        A Functional model, (N, H, W, 3) -> (N, h, w, features).

    Raises:
        RecipeError: Unknown name, or an image size that the network does not accept.
        ModelError: Weights that are missing, damaged or of another network.
    """
    import keras

    from tumorboard.models import efficientnet_lite

    builder = find_backbone(name).builder
    if weights not in NAMED_WEIGHTS and name.startswith("efficientnet-b"):
        # Keras inserts a scaling that the file does not record, only for its own weights.
        raise ModelError(
            f"{name} takes no weights file, for Keras scales its input by where the weights come from; "
            "expected imagenet or none, or another backbone"
        )
    if builder is None:
        network = efficientnet_lite.build(input_shape, prefix)
    else:
        builder = getattr(keras.applications, builder) if isinstance(builder, str) else builder
        try:  # first without weights, to distinguish an unfit image size from unfit weights
            network = builder(weights=None, include_top=False, input_shape=input_shape)
        except ValueError as error:
            raise RecipeError(f"{name} does not take images of {input_shape}: {str(error)[:150]}") from error
        if weights == "imagenet":
            network = fetch_imagenet(name, builder, input_shape)
    backbone = keras.Model(network.input, network.output, name=f"{prefix}_backbone")
    if weights == "imagenet" and name == EMBEDDED:
        load_embedded(backbone, "efficientnet_lite0")
    elif weights not in NAMED_WEIGHTS:
        load_file(backbone, Path(weights))
    return backbone


def embed_images(images: Images, progress: Callable[[int, int], None] = lambda done, total: None) -> Features:
    """Compute the pooled features of the embedded backbone, frozen with its own weights.

    Args:
        images: uint8 (N, S, S, 3), 0-255.
        progress: Called with (done, all) after each batch.

    Returns:
        float32 (N, 1280).
    """
    import keras

    backend.use_settings()
    shape = images[0:1].shape[1:]
    image = keras.Input(shape)
    network = build_backbone(EMBEDDED, "imagenet", shape, "embedding")
    pooled = keras.layers.GlobalAveragePooling2D()(network(preprocess(image, EMBEDDED, "own", "embedding")))
    model = keras.Model(image, pooled)
    batches = []
    for start in range(0, len(images), _BATCH):
        batches.append(np.asarray(model.predict_on_batch(images[start : start + _BATCH])))
        progress(min(start + _BATCH, len(images)), len(images))
    return np.concatenate(batches)


def split_backbone(
    name: str, backbone: "keras.Model", stage: str
) -> "tuple[keras.Model, keras.Model | None]":
    """Cut a backbone behind a stage and freeze the layers before the cut.

    Args:
        name: Its key in `BACKBONES`.
        backbone: From `build_backbone`; the parts share its layers.
        stage: One of the entry's stages; "top" for everything; "upper" for the last stage whose map is at
            least the entry's `upper` times as large as the final one ("top" if there is none): the layers
            behind it hold the features most specific to ImageNet, and the smaller share of the arithmetic.

    Returns:
        The frozen trunk, image -> stage, and the tail, stage -> features (None behind "top").

    Raises:
        RecipeError: Unknown stage; the message lists the known ones.
    """
    import keras

    entry, names = find_backbone(name), stages_of(name)
    prefix = backbone.name.removesuffix("_backbone")

    def end_of(stage: str) -> Any:
        start = entry.stages[names.index(stage)]
        ends = [layer for layer in backbone.layers if layer.name.removeprefix(f"{prefix}_").startswith(start)]
        return ends[-1].output

    if stage == "upper":
        smallest = entry.upper * backbone.output.shape[1]
        large = [name for name in names[:-1] if end_of(name).shape[1] >= smallest]
        stage = large[-1] if large else "top"
    if stage not in names:
        raise RecipeError(
            f"expected a stage of {name} ({', '.join((*names, 'upper'))}), found {stage[:60]!r}"
        )
    trunk, tail = backbone, None
    if stage != "top":
        cut = end_of(stage)
        trunk = keras.Model(backbone.input, cut, name=f"{prefix}_trunk")
        tail = keras.Model(cut, backbone.output, name=f"{prefix}_tail")
    trunk.trainable = False
    return trunk, tail
