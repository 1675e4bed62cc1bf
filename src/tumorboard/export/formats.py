"""File formats of other runtimes: the packages that each needs, how it is written and how it is opened."""

import importlib
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tumorboard import backend, optional
from tumorboard.errors import UsageError

if TYPE_CHECKING:
    import keras

KEY = "tumorboard"
"""Key of the record, as JSON, in a file's own metadata."""

EMBEDDING = "embedding"
"""Name of the output that is not class probabilities."""

Array = npt.NDArray[np.float32]
Predict = Callable[[Array], list[Array]]
"""(1, S, S, 3) float32 of 0-255 -> the outputs in order: [(1, C), ...], or [(1, C), ..., (1, D)]."""


@dataclass(frozen=True)
class Format:
    """A file format of another runtime.

    Attributes:
        suffix: Of its file; "" if it is a folder.
        packages: Modules that must be importable.
        extra: The extra of this package that installs them; "" if TensorFlow itself is enough.
        write: Writes an inference graph to a path, with the record of the export.
        open: Opens a file in its runtime for images of a size, one per call.
        embeds: Whether the file can have an embedding as a second output; LiteRT would put it first.
    """

    suffix: str
    packages: tuple[str, ...]
    extra: str
    write: "Callable[[keras.Model, Path, Mapping[str, Any]], None]"
    open: Callable[[Path, int], Predict]
    embeds: bool = False


def find(name: str) -> Format:
    """Return a format whose packages are installed.

    Raises:
        UsageError: Unknown name, missing packages, or another backend than TensorFlow.
    """
    if name not in FORMATS:
        raise UsageError(f"expected a format of {', '.join(FORMATS)}, found {name[:40]!r}")
    entry = FORMATS[name]
    optional.require(f"the format {name}", *entry.packages, extra=entry.extra)
    if backend.name() != "tensorflow":
        raise UsageError(
            f"models are exported by the TensorFlow backend, found the backend {backend.name()[:40]!r}; "
            "set KERAS_BACKEND=tensorflow for this command"
        )
    return entry


def write_onnx(model: "keras.Model", path: Path, record: Mapping[str, Any]) -> None:
    """Write ONNX, with the outputs named as in the record instead of as TensorFlow names them."""
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras uses a name that NumPy has deprecated
        model.export(str(path), format="onnx", verbose=False)
    onnx = importlib.import_module("onnx")
    content = onnx.load(path)
    graph = content.graph
    names = {output.name: name for output, name in zip(graph.output, record["outputs"], strict=True)}
    for output in graph.output:
        output.name = names[output.name]
    for node in graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = [names.get(tensor, tensor) for tensor in tensors]
    onnx.helper.set_model_props(content, {KEY: json.dumps(record)})
    onnx.checker.check_model(content)
    onnx.save(content, path)


def open_onnx(path: Path, _: int) -> Predict:
    """Open ONNX in ONNX Runtime on the CPU, without its telemetry: a database in the home folder."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read at the import, which makes the database
    runtime = importlib.import_module("onnxruntime")
    runtime.disable_telemetry_events()
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0].name
    return lambda image: list(session.run(None, {source: image}))


def openvino() -> Any:
    """Import OpenVINO without its telemetry, which would report every import to its maker."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


def write_openvino(model: "keras.Model", path: Path, record: Mapping[str, Any]) -> None:
    """Write OpenVINO's IR in full precision, with named outputs."""
    ov = openvino()
    plain = path.with_name(f"plain-{path.name}")
    model.export(str(plain), format="openvino", verbose=False)
    content = ov.Core().read_model(plain)
    for output, name in zip(content.outputs, record["outputs"], strict=True):
        output.get_tensor().set_names({name})
    content.set_rt_info(json.dumps(record), [KEY])
    ov.save_model(content, path, compress_to_fp16=False)
    del content  # it maps the file of weights
    for file in (plain, plain.with_suffix(".bin")):
        file.unlink()


def open_openvino(path: Path, size: int) -> Predict:
    """Open OpenVINO's IR on the CPU."""
    ov = openvino()
    core = ov.Core()
    model = core.read_model(path)
    model.reshape([1, size, size, 3])
    # Without the hint some processors would compute in half precision.
    hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(model, "CPU", hints).create_infer_request()
    return lambda image: [np.array(output) for output in request.infer([image]).to_tuple()]


def write_litert(model: "keras.Model", path: Path, _: Mapping[str, Any]) -> None:
    """Write LiteRT (TensorFlow Lite)."""
    model.export(str(path), format="litert", verbose=False)


def open_litert(path: Path, size: int) -> Predict:
    """Open LiteRT."""
    interpreter = importlib.import_module("ai_edge_litert.interpreter").Interpreter(str(path))
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    interpreter.resize_tensor_input(source, [1, size, size, 3])
    interpreter.allocate_tensors()

    def predict(image: Array) -> list[Array]:
        interpreter.set_tensor(source, image)
        interpreter.invoke()
        return [np.asarray(interpreter.get_tensor(target))]

    return predict


def write_saved_model(model: "keras.Model", path: Path, record: Mapping[str, Any]) -> None:
    """Write a SavedModel of TensorFlow."""
    model.export(str(path), format="tf_saved_model", verbose=False)
    extra = path / "assets.extra"
    extra.mkdir()
    (extra / f"{KEY}.json").write_text(json.dumps(record), encoding="utf-8")


def open_saved_model(path: Path, _: int) -> Predict:
    """Open a SavedModel in TensorFlow."""
    tf = importlib.import_module("tensorflow")
    loaded = tf.saved_model.load(str(path))
    return lambda image: [np.asarray(loaded.serve(tf.constant(image)))]


FORMATS: dict[str, Format] = {
    "onnx": Format(".onnx", ("onnx", "onnxruntime", "tf2onnx"), "onnx", write_onnx, open_onnx, embeds=True),
    "openvino": Format(".xml", ("openvino",), "openvino", write_openvino, open_openvino, embeds=True),
    "litert": Format(".tflite", ("tensorflow", "ai_edge_litert"), "litert", write_litert, open_litert),
    "saved-model": Format("", ("tensorflow",), "", write_saved_model, open_saved_model),
}

_TRAINING_ONLY = {
    "RandomFlip",
    "RandomRotation",
    "RandomZoom",
    "RandomTranslation",
    "RandomContrast",
    "Dropout",
}


def inference_graph(networks: "Mapping[str, keras.Model]") -> "keras.Model":
    """Copy networks into one frozen graph for inference, which computes shared layers once.

    It is frozen because Keras exports a batch norm that is trainable in its training form, whose outputs are
    other ones and depend on the batch.

    Returns:
        (N, S, S, 3) float32 of 0-255 -> the output of each network, in order.
    """
    import keras  # seconds to import
    from keras import layers

    from tumorboard.models.inference import merge_networks

    def copy_layer(layer: keras.Layer) -> Any:
        if type(layer).__name__ in _TRAINING_ONLY:
            return layers.Identity(name=layer.name)
        config = layer.get_config()
        if isinstance(layer, layers.Rescaling):  # tf2onnx skips an optimisation if the offset is a scalar
            for key in ("scale", "offset"):
                config[key] = [config[key]] if isinstance(config[key], int | float) else config[key]
        return layer.__class__.from_config(config)

    whole = merge_networks(networks)
    outputs = [whole.output[name] for name in networks]
    whole = keras.Model(whole.input, outputs if len(outputs) > 1 else outputs[0])
    copy = keras.models.clone_model(whole, clone_function=copy_layer)
    copy.set_weights(whole.get_weights())
    copy.trainable = False
    copy(np.zeros((1, *whole.input_shape[1:]), np.float32))  # Keras exports only models that have been called
    return copy
