"""The formats, what each needs installed, and how it is written."""

import importlib
import json
import logging
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from tumorboard import optional
from tumorboard.errors import UsageError
from tumorboard.models.shared_graph import merge_networks

KEY = "tumorboard"
"""Under this name the facts stand as JSON in a file's own metadata."""

EMBEDDING = "embedding"
"""What an output is called that is no probabilities."""

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Format:
    """A file format of another runtime.

    Attributes:
        suffix: Of its file; "" where it is a folder.
        packages: Modules that must be importable.
        extra: What to install for them; "" where TensorFlow itself does it.
        write: Model, path, facts to a file there; the model is an inference graph.
        embeds: Whether the file can answer an embedding too; LiteRT would put it first.
    """

    suffix: str
    packages: tuple[str, ...]
    extra: str
    write: Callable[[keras.Model, Path, Facts], None]
    embeds: bool = False


def find(name: str) -> Format:
    """A format whose packages are installed.

    Raises:
        UsageError: An unknown name, or packages are missing; says how to install them.
    """
    if name not in FORMATS:
        raise UsageError(f"expected a format of {', '.join(FORMATS)}, found {name[:40]!r}")
    found = FORMATS[name]
    optional.require(f"the format {name}", *found.packages, extra=found.extra)
    if keras.backend.backend() != "tensorflow":
        raise UsageError(
            f"models are exported by the TensorFlow backend, found KERAS_BACKEND={keras.backend.backend()}; "
            "unset it for this command"
        )
    return found


def openvino() -> Any:
    """The module, without its telemetry, which would report every import to its maker."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


def _onnx(model: keras.Model, path: Path, facts: Facts) -> None:
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras asks NumPy for a name that it does not have any more
        model.export(str(path), format="onnx", verbose=False)
    onnx = importlib.import_module("onnx")
    content = onnx.load(path)
    _rename_outputs(content.graph, list(facts["outputs"]))
    onnx.helper.set_model_props(content, {KEY: json.dumps(facts)})
    onnx.checker.check_model(content)
    onnx.save(content, path)


def _rename_outputs(graph: Any, outputs: Sequence[str]) -> None:
    """From what TensorFlow calls them."""
    names = {one.name: name for one, name in zip(graph.output, outputs, strict=True)}
    for one in graph.output:
        one.name = names[one.name]
    for node in graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = [names.get(one, one) for one in tensors]


def _openvino(model: keras.Model, path: Path, facts: Facts) -> None:
    ov = openvino()
    plain = path.with_name(f"plain-{path.name}")
    model.export(str(plain), format="openvino", verbose=False)
    content = ov.Core().read_model(plain)
    for output, name in zip(content.outputs, facts["outputs"], strict=True):
        output.get_tensor().set_names({name})
    content.set_rt_info(json.dumps(facts), [KEY])
    ov.save_model(content, path, compress_to_fp16=False)
    del content  # it maps the file of weights
    for file in (plain, plain.with_suffix(".bin")):
        file.unlink()


def _litert(model: keras.Model, path: Path, _: Facts) -> None:
    model.export(str(path), format="litert", verbose=False)


def _saved_model(model: keras.Model, path: Path, facts: Facts) -> None:
    model.export(str(path), format="tf_saved_model", verbose=False)
    extra = path / "assets.extra"
    extra.mkdir()
    (extra / f"{KEY}.json").write_text(json.dumps(facts), encoding="utf-8")


FORMATS: dict[str, Format] = {
    "onnx": Format(".onnx", ("onnx", "onnxruntime", "tf2onnx"), "onnx", _onnx, embeds=True),
    "openvino": Format(".xml", ("openvino",), "openvino", _openvino, embeds=True),
    "litert": Format(".tflite", ("tensorflow", "ai_edge_litert"), "litert", _litert),
    "saved-model": Format("", ("tensorflow",), "", _saved_model),
}


_RANDOM = (
    layers.RandomFlip,
    layers.RandomRotation,
    layers.RandomZoom,
    layers.RandomTranslation,
    layers.RandomContrast,
    layers.Dropout,
)


def inference_graph(networks: Mapping[str, keras.Model]) -> keras.Model:
    """A copy, (N, S, S, 3) float32 of 0-255 to what each network answers, in order, that only predicts.

    What the networks share is computed once. It is frozen: Keras exports a batch norm that may still learn
    in its training form, whose answers are others and change with the batch.
    """
    whole = merge_networks(networks)
    answers = [whole.output[name] for name in networks]
    whole = keras.Model(whole.input, answers if len(answers) > 1 else answers[0])
    copy = keras.models.clone_model(whole, clone_function=_plain)
    copy.set_weights(whole.get_weights())
    copy.trainable = False
    copy(np.zeros((1, *whole.input_shape[1:]), np.float32))  # Keras exports only what has been called
    return copy


def _plain(layer: keras.Layer) -> Any:
    if isinstance(layer, _RANDOM):
        return layers.Identity(name=layer.name)
    config = layer.get_config()
    if isinstance(
        layer, layers.Rescaling
    ):  # tf2onnx gives up a whole optimisation on an offset without shape
        config |= {one: _listed(config[one]) for one in ("scale", "offset")}
    return layer.__class__.from_config(config)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, int | float) else value
