"""An exported file in the runtime that it was made for, called like a Keras model."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tumorboard.errors import ModelError
from tumorboard.exporting.formats import openvino

Rows = npt.NDArray[np.float32]
Answer = Callable[[Rows], list[Rows]]


@dataclass(frozen=True)
class Engine:
    """Networks in another runtime.

    Attributes:
        answer: (1, S, S, 3) float32 of 0-255 -> its outputs in order: [(1, C), ...], [(1, C), ..., (1, D)].
    """

    answer: Answer

    def predict_on_batch(self, image: npt.NDArray[Any]) -> list[Rows]:
        """The same of raw pixels of any type, as a Keras model of several outputs answers."""
        return self.answer(image.astype(np.float32))


def open_engine(name: str, path: Path, size: int) -> Engine:
    """Open a file of the format `name` for images of (size, size, 3), one a call.

    Raises:
        ModelError: Its runtime cannot read it.
    """
    try:
        return Engine(_OPENERS[name](path, size))
    except Exception as error:  # each runtime has errors of its own
        reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise ModelError(f"{path.name} cannot be opened by its runtime: {reason}; export it again") from error


def _onnx(path: Path, _: int) -> Answer:
    runtime = importlib.import_module("onnxruntime")
    runtime.disable_telemetry_events()
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0].name
    return lambda image: list(session.run(None, {source: image}))


def _openvino(path: Path, size: int) -> Answer:
    ov = openvino()
    core = ov.Core()
    model = core.read_model(path)
    model.reshape([1, size, size, 3])
    # Without the hint some processors would compute in half precision.
    hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(model, "CPU", hints).create_infer_request()
    return lambda image: [np.array(one) for one in request.infer([image]).to_tuple()]


def _litert(path: Path, size: int) -> Answer:
    interpreter = importlib.import_module("ai_edge_litert.interpreter").Interpreter(str(path))
    source, target = (
        one[0]["index"] for one in (interpreter.get_input_details(), interpreter.get_output_details())
    )
    interpreter.resize_tensor_input(source, [1, size, size, 3])
    interpreter.allocate_tensors()

    def answer(image: Rows) -> list[Rows]:
        interpreter.set_tensor(source, image)
        interpreter.invoke()
        return [np.asarray(interpreter.get_tensor(target))]

    return answer


def _saved_model(path: Path, _: int) -> Answer:
    tf = importlib.import_module("tensorflow")
    loaded = tf.saved_model.load(str(path))
    return lambda image: [np.asarray(loaded.serve(tf.constant(image)))]


_OPENERS: dict[str, Callable[[Path, int], Answer]] = {
    "onnx": _onnx,
    "openvino": _openvino,
    "litert": _litert,
    "saved-model": _saved_model,
}
