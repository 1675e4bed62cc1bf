"""File formats of other runtimes: the packages that each needs, how it is written and how it is opened."""

import importlib
import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tumorboard import backend, optional
from tumorboard.errors import ModelError, UsageError, display

if TYPE_CHECKING:  # files are opened without Keras
    import keras

KEY = "tumorboard"
"""Key of the record, as JSON, in a file's own metadata."""

EMBEDDING = "embedding"
"""Name of the output that is not class probabilities."""

_MAX_BYTES = (1 << 31) - 1
"""Of an ONNX file; no larger one can be parsed."""

# fmt: off
_OPERATORS = frozenset({
    "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Conv", "Div", "Erf", "Exp",
    "Flatten", "Gather", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish",
    "Identity", "MatMul", "MaxPool", "Mul", "Pad", "Pow", "Reciprocal", "ReduceMax", "ReduceMean",
    "ReduceSum", "Relu", "Reshape", "Shape", "Sigmoid", "Slice", "Softmax", "Sqrt", "Squeeze", "Sub",
    "Tanh", "Transpose", "Unsqueeze",
})
# fmt: on
"""ONNX operators that the networks of this package consist of, whatever the backbone."""

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
    onnx = importlib.import_module("onnx")
    # In a folder of its own: TensorFlow takes no name that is not UTF-8.
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # Keras uses a name that NumPy has deprecated
        model.export(f"{folder}/model.onnx", format="onnx", verbose=False)
        content = onnx.load(f"{folder}/model.onnx")
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
    """Open ONNX in ONNX Runtime on the CPU; the bits depend neither on the threads nor on the batch.

    It writes no telemetry, which would be a database in the home folder.
    """
    check_operators(path)
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read at the import, which makes the database
    runtime = importlib.import_module("onnxruntime")
    runtime.disable_telemetry_events()
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised
    threads = os.environ.get("OMP_NUM_THREADS", "")  # set for the workers of a cluster
    options.intra_op_num_threads = int(threads) if threads.isdecimal() else 0
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads take no time
    session = runtime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0].name
    return lambda image: list(session.run(None, {source: image}))


def check_operators(path: Path) -> None:
    """Refuse ONNX that consists of other operators than networks of this package, or that needs other files.

    Raises:
        ModelError: Names the file and one operator.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise ModelError(f"expected at most {_MAX_BYTES:,} bytes in {display(path)}, found more")
    onnx = importlib.import_module("onnx")
    model = onnx.load(path, load_external_data=False)
    unknown = {node.op_type for node in model.graph.node if node.domain or node.op_type not in _OPERATORS}
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        unknown.add("weights in another file")
    if model.functions or model.graph.sparse_initializer or model.training_info:
        unknown.add("functions, sparse weights or training")
    if unknown:
        raise ModelError(
            f"{display(path)} cannot be opened: expected operators of Tumorboard's networks, found "
            f"{min(unknown)[:60]!r}; export it again"
        )


def openvino() -> Any:
    """Import OpenVINO without its telemetry, which would report every import to its maker."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


def write_openvino(model: "keras.Model", path: Path, record: Mapping[str, Any]) -> None:
    """Write OpenVINO's IR in full precision, with named outputs."""
    ov = openvino()
    with tempfile.TemporaryDirectory(dir=path.parent) as saved_model:
        # Not Keras's own export to OpenVINO: on Python 3.13 its converter ends in `exec("del tensorflow")`.
        model.export(saved_model, format="tf_saved_model", verbose=False)
        content = ov.Core().read_model(saved_model)
        for number, name in enumerate(record["outputs"]):
            content.output(f"output_{number}").get_tensor().set_names({name})
        content.set_rt_info(json.dumps(record), [KEY])
        ov.save_model(content, path, compress_to_fp16=False)


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
    "onnx": Format(".onnx", ("onnx", "onnxruntime", "tf2onnx"), "", write_onnx, open_onnx, embeds=True),
    "openvino": Format(".xml", ("openvino",), "openvino", write_openvino, open_openvino, embeds=True),
    "litert": Format(".tflite", ("tensorflow", "ai_edge_litert"), "litert", write_litert, open_litert),
    "saved-model": Format("", ("tensorflow",), "", write_saved_model, open_saved_model),
}
