"""What every network of this project promises, so that one treatment serves all.

A model takes raw pixels, (N, size, size, 3) with values 0-255, and answers class probabilities, (N, C).
Its layers are named from one prefix, the model's own name, and some of them are *taps*:

    <name>_image           the input
    <name>_frozen          the last tensor that training does not change; it can be computed once
    <name>_feature_map     the last 4-D tensor, in the outer graph, for heat maps
    <name>_embedding       the vector that the classifier sees
    <name>_probabilities   the output

A mirrored model calls its layers twice, for the image and for its mirror image; the taps are the image's own.
A model made of models holds their layers flat, under `<name>_<member>_`, with their taps.
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
    """What a saved model expects and answers; written as JSON beside it."""

    name: str
    kind: str
    class_names: tuple[str, ...]
    image: Image
    details: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The spec as it is stored."""
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
        """Read back what `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: The content is not a spec.
        """
        return ModelSpec(
            name=str(content["name"]),
            kind=str(content["kind"]),
            class_names=tuple(map(str, content["class_names"])),
            image=Image.model_validate(content["image"]),
            details=dict(content["details"]),
        )


def tap(model: keras.Model, kind: str) -> Any:
    """The model's own tensor of that kind, for example ``tap(model, "embedding")``.

    Raises:
        ModelError: The model has no such tap.
    """
    wanted = f"{model.name}_{kind}"
    if wanted not in {layer.name for layer in model.layers}:
        raise ModelError(
            f"expected a layer {wanted!r} in the model {model.name!r}, found none; see docs/models.md"
        )
    return model.get_layer(wanted).output


def taps(model: keras.Model, kind: str) -> list[Any]:
    """All tensors of that kind, the members' included, in the graph's order; none of a mirror image."""
    return [layer.output for layer in model.layers if layer.name.endswith(f"_{kind}")]


def check(model: keras.Model, spec: ModelSpec) -> None:
    """Refuse a model that does not keep the spec.

    Raises:
        ModelError: Names the first promise that is broken.
    """
    size, classes = spec.image.size, len(spec.class_names)
    expectations = {
        "input shape": ((None, size, size, 3), tuple(model.input_shape)),
        "output shape": ((None, classes), tuple(model.output_shape)),
        "name": (spec.name, model.name),
        "layers outside its prefix": (
            [],
            [layer.name for layer in model.layers if not layer.name.startswith(f"{model.name}_")],
        ),
    }
    for what, (expected, found) in expectations.items():
        if expected != found:
            raise ModelError(
                f"model {model.name!r} does not match its specification: {what} {found}, expected {expected}"
            )
    tap(model, "image"), tap(model, "probabilities")


def split_at_frozen(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Cut a model where training begins.

    Returns:
        The trunk, image -> frozen tensors, and the tail, frozen tensors -> probabilities. Both share the
        model's layers: fitting the tail trains the model.

    Raises:
        ModelError: A branch of the model has no `frozen` tap.
    """
    frozen = taps(model, "frozen")
    try:
        tail = keras.Model(frozen, model.output, name=f"{model.name}_tail")
    except ValueError as error:  # no tap at all, or a way from image to answer that passes none
        raise ModelError(
            f"model {model.name!r} has a branch without a frozen part to compute once; set training.views = 0"
        ) from error
    return keras.Model(model.input, frozen, name=f"{model.name}_trunk"), tail


def trunks(model: keras.Model) -> dict[str, keras.Model]:
    """Image -> frozen tensor, by the name of the model that owns it, in the order of the tail's inputs."""
    return {
        layer.name.removesuffix("_frozen"): keras.Model(model.input, layer.output, name=f"{layer.name}_trunk")
        for layer in model.layers
        if layer.name.endswith("_frozen")
    }


def call_again(model: keras.Model, image: Any, call: Callable[..., Any]) -> Any:
    """The answer of the model's own layers to an input once more, each called by `call(layer, *seen)`."""
    return keras.models.clone_model(model, image, lambda layer: layer, call).output


def copy_into(model: keras.Model, image: Any, prefix: str) -> keras.Model:
    """A copy of the model with weights of its own, its graph continued from an input.

    Args:
        model: What is copied.
        image: The input.
        prefix: The copy's name, and its layers' new prefix.
    """
    made: list[tuple[keras.Layer, keras.Layer]] = []

    def rename(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        config["name"] = prefix + layer.name.removeprefix(model.name)
        made.append((layer, layer.__class__.from_config(config)))
        return made[-1][1]

    copy = keras.models.clone_model(model, image, rename)
    for layer, other in made:
        other.set_weights(layer.get_weights())
    return keras.Model(image, copy.output, name=prefix)


def embedding_model(model: keras.Model) -> keras.Model:
    """Image -> the model's own embedding, or, as an ensemble has none, its members' side by side: (N, D).

    It shares the model's layers. Ask it an image a call, as `predicting.probabilities` does.

    Raises:
        ModelError: No embedding at all.
    """
    own = f"{model.name}_embedding"
    found = [layer.output for layer in model.layers if layer.name == own] or taps(model, "embedding")
    if not found:
        tap(model, "embedding")  # says what is missing
    joined = found[0] if len(found) == 1 else keras.layers.Concatenate()(found)
    return keras.Model(model.input, joined, name=f"{model.name}_embedder")
