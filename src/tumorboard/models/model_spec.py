"""The specification that all models match, and the functions that take their networks apart.

A model takes raw pixels, (N, size, size, 3) with values 0-255, and predicts class probabilities, (N, C).
All layer names begin with the model's own name, and some layers are *taps*:

    <name>_image           the input
    <name>_frozen          the last tensor that training does not change; it can be computed once and cached
    <name>_feature_map     the last 4-D tensor, in the outer graph, for heat maps
    <name>_embedding       the vector that the classifier receives
    <name>_probabilities   the output

A mirrored model calls its layers twice, for the image and for its mirror image; the taps are those of the
image. An ensemble or a chain holds the layers of its members flat, as `<name>_<member>_...`, with their taps.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import keras

from tumorboard import NOTICE
from tumorboard.config import Image
from tumorboard.errors import ModelError


@dataclass(frozen=True)
class ModelSpec:
    """Name, classes and image settings of a saved model; written as JSON beside it.

    Args:
        name: The model's name, the prefix of all layer names.
        kind: pretrained, custom, ensemble or chained.
        class_names: In the order of the output.
        image: How an image is prepared as input.
        details: How the model was made, such as its members or its best epoch.
    """

    name: str
    kind: str
    class_names: tuple[str, ...]
    image: Image
    details: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the specification as it is stored."""
        size = self.image.size
        return {
            "format_version": 1,
            **asdict(self),
            "class_names": list(self.class_names),
            "image": self.image.model_dump(),
            "input": {"shape": [size, size, 3], "values": "0-255, RGB", "preprocessing": "inside the model"},
            "output": "class probabilities, in the order of class_names",
            "notice": NOTICE,
        }

    @staticmethod
    def from_json(content: dict[str, Any]) -> "ModelSpec":
        """Read what `to_json` returned.

        Raises:
            KeyError, TypeError, ValueError: The content is not a specification.
        """
        return ModelSpec(
            name=str(content["name"]),
            kind=str(content["kind"]),
            class_names=tuple(map(str, content["class_names"])),
            # Runs from before `depth` was recorded read 16-bit grey as value >> 8, whatever is declared.
            image=Image.model_validate({"depth": "stored", **content["image"]}),
            details=dict(content["details"]),
        )


LoadedModel = tuple[keras.Model, ModelSpec]
"""A network with its specification, as `saving.load` returns it."""


def check(model: keras.Model, spec: ModelSpec) -> None:
    """Compare a network with its specification.

    Raises:
        ModelError: They differ; the message names the first difference.
    """
    size, classes = spec.image.size, len(spec.class_names)
    foreign = [layer.name for layer in model.layers if not layer.name.startswith(f"{model.name}_")]
    for what, expected, actual in (
        ("input shape", (None, size, size, 3), tuple(model.input_shape)),
        ("output shape", (None, classes), tuple(model.output_shape)),
        ("name", spec.name, model.name),
        ("layers outside its prefix", [], foreign),
    ):
        if expected != actual:
            raise ModelError(
                f"model {model.name!r} does not match its specification: {what} {actual}, expected {expected}"
            )
    tap(model, "image"), tap(model, "probabilities")


def tap(model: keras.Model, kind: str) -> Any:
    """Return the model's own tensor of a kind, for example ``tap(model, "embedding")``.

    Raises:
        ModelError: The model has no such tap.
    """
    name = f"{model.name}_{kind}"
    if name not in {layer.name for layer in model.layers}:
        raise ModelError(
            f"expected a layer {name!r} in the model {model.name!r}, found none; see docs/models.md"
        )
    return model.get_layer(name).output


def taps(model: keras.Model, kind: str) -> list[Any]:
    """Return all tensors of a kind in the graph's order: the members' too, but none of a mirror image."""
    return [layer.output for layer in model.layers if layer.name.endswith(f"_{kind}")]


def trunks(model: keras.Model) -> dict[str, keras.Model]:
    """Build image -> frozen tensor by the name of the owner, in the order of the tail's inputs."""
    return {
        layer.name.removesuffix("_frozen"): keras.Model(model.input, layer.output, name=f"{layer.name}_trunk")
        for layer in model.layers
        if layer.name.endswith("_frozen")
    }


def split_at_frozen(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Cut a model behind its frozen part.

    Returns:
        The trunk, image -> frozen tensors, and the tail, frozen tensors -> probabilities. Both share the
        model's layers: fitting the tail trains the model.

    Raises:
        ModelError: A branch of the model has no `frozen` tap.
    """
    tensors = taps(model, "frozen")
    frozen = tensors[0] if len(tensors) == 1 else tensors  # Keras warns of a list of one
    try:
        tail = keras.Model(frozen, model.output, name=f"{model.name}_tail")
    except ValueError as error:  # no tap at all, or a path from image to output without a tap
        raise ModelError(
            f"model {model.name!r} has a branch without a frozen part to compute once; set training.views = 0"
        ) from error
    return keras.Model(model.input, frozen, name=f"{model.name}_trunk"), tail


def embedding_model(model: keras.Model) -> keras.Model:
    """Build image -> embedding, (N, D), sharing the model's layers.

    An ensemble has no embedding of its own: its members' are concatenated. Predict one image at a time, as
    `inference.probabilities` does.

    Raises:
        ModelError: The model has no embedding.
    """
    own = f"{model.name}_embedding"
    embeddings = [layer.output for layer in model.layers if layer.name == own] or taps(model, "embedding")
    if not embeddings:
        embeddings = [tap(model, "embedding")]  # raises
    output = embeddings[0] if len(embeddings) == 1 else keras.layers.Concatenate()(embeddings)
    return keras.Model(model.input, output, name=f"{model.name}_embedder")


def call_again(model: keras.Model, image: Any, call: Callable[..., Any]) -> Any:
    """Apply the model's own layers to another input; each is called as `call(layer, *inputs, **options)`."""
    return keras.models.clone_model(model, image, lambda layer: layer, call).output


def copy_into(model: keras.Model, image: Any, prefix: str) -> keras.Model:
    """Copy a model, with its own weights, onto an existing input.

    Args:
        model: The model to copy.
        image: The input tensor.
        prefix: The copy's name, and the new prefix of its layers.
    """
    pairs: list[tuple[keras.Layer, keras.Layer]] = []

    def rename(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        config["name"] = prefix + layer.name.removeprefix(model.name)
        pairs.append((layer, layer.__class__.from_config(config)))
        return pairs[-1][1]

    copy = keras.models.clone_model(model, image, rename)
    for layer, layer_copy in pairs:
        layer_copy.set_weights(layer.get_weights())
    return keras.Model(image, copy.output, name=prefix)
