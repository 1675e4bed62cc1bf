"""An exported file in the runtime that it was made for, called like a Keras model."""

import importlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tumorboard import progress, storage
from tumorboard.errors import ModelError, UsageError
from tumorboard.export.formats import find, inference_graph, openvino
from tumorboard.models.model_spec import ModelSpec

Rows = npt.NDArray[np.float32]
Answer = Callable[[Rows], list[Rows]]


@dataclass(frozen=True)
class ExportedModel:
    """Networks in another runtime.

    Attributes:
        answer: (1, S, S, 3) float32 of 0-255 -> its outputs in order: [(1, C), ...], [(1, C), ..., (1, D)].
    """

    answer: Answer

    def predict_on_batch(self, image: npt.NDArray[Any]) -> list[Rows]:
        """The same of raw pixels of any type, as a Keras model of several outputs answers."""
        return self.answer(image.astype(np.float32))


def open_exported(path: Path, name: str, spec: ModelSpec) -> ExportedModel:
    """Open a file of the format `name` in its runtime, for one image per call.

    Raises:
        ModelError: Its runtime cannot read it.
    """
    try:
        return ExportedModel(_OPENERS[name](path, spec.image.size))
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


LIMIT = 1e-4
"""The largest difference from Keras that is let through, of each output."""

_STAGING = ".exporting-"


@dataclass(frozen=True)
class ExportCheck:
    """How an exported file compared with Keras.

    Attributes:
        images: How many were compared.
        real: Whether they are the run's own; random ones otherwise.
        differences: The largest of each output; where values go beyond 1, as a share of the largest.
    """

    images: int
    real: bool
    differences: Mapping[str, float]


def export_checked(
    networks: Mapping[str, keras.Model],
    spec: ModelSpec,
    sha256: str,
    name: str,
    path: Path,
    images: npt.NDArray[np.uint8],
    real: bool,
) -> ExportCheck:
    """Write networks as one in the format `name`, open it again, compare with Keras, and only then keep it.

    Args:
        networks: By output, as the run holds them.
        spec: Of the models.
        sha256: Says which files of the run they are.
        name: Of the format.
        path: Of the new file, or folder.
        images: To compare on, uint8 (N, S, S, 3).
        real: Whether they are images of the run.

    Raises:
        UsageError: An unknown format, or its packages are missing, or `path` will not do.
        ModelError: The file answers otherwise than Keras by more than `LIMIT`; nothing is left then.
        StorageError: The disk.
    """
    made = find(name)
    _check_name(path, made.suffix, name)
    graph = inference_graph(networks)
    outputs = {output: list(one.shape[1:]) for output, one in zip(networks, graph.outputs, strict=True)}
    facts = {**spec.to_json(), "outputs": outputs, "format": name, "model_sha256": sha256}
    with _staging(path) as folder:
        made.write(graph, folder / path.name, facts)
        check = _compare(networks, open_exported(folder / path.name, name, spec), images, real)
        _require_equal(check, name)
        told = {"images": check.images, "real": check.real, "largest_difference": dict(check.differences)}
        hashes = {one: storage.sha256(folder / one) for one in _files(folder)}
        storage.write_json(record_path(folder / path.name), {**facts, "compared": told, "sha256": hashes})
    return check


def is_export(path: Path, name: str, sha256: str, outputs: Sequence[str]) -> bool:
    """Whether an undamaged export, of this format, these outputs and files of this hash, lies there."""
    try:
        facts = json.loads(record_path(path).read_text(encoding="utf-8"))
        return bool(
            (facts["format"], facts["model_sha256"], tuple(facts["outputs"]))
            == (name, sha256, tuple(outputs))
            and facts["sha256"]
            and all(storage.sha256(path.parent / one) == digest for one, digest in facts["sha256"].items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def record_path(path: Path) -> Path:
    """Where the facts about an export lie."""
    return path.with_name(f"{path.name}.json")


def _compare(
    networks: Mapping[str, keras.Model], engine: ExportedModel, images: npt.NDArray[np.uint8], real: bool
) -> ExportCheck:
    """Each network by itself with the whole."""
    pairs = zip(networks.items(), _answers(engine, images), strict=True)
    differences = {name: _difference(_answers(network, images)[0], found) for (name, network), found in pairs}
    return ExportCheck(len(images), real, differences)


def _answers(network: Any, images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
    """Each output, (N, ...), of one image a call."""
    rows = []
    for number in range(len(images)):
        progress.stop_if_asked()
        told = network.predict_on_batch(images[number : number + 1])
        rows.append(told if isinstance(told, list) else [told])
    return [np.concatenate(output) for output in zip(*rows, strict=True)]


def _difference(expected: npt.NDArray[np.float32], found: npt.NDArray[np.float32]) -> float:
    """The largest, in float32's own measure: large values are rounded more coarsely."""
    return float(np.abs(expected - found).max() / max(1.0, np.abs(expected).max()))


def _require_equal(check: ExportCheck, name: str) -> None:
    for output, difference in check.differences.items():
        if not difference <= LIMIT:  # NaN too
            raise ModelError(
                f"the {name} file's {output} differs from Keras by {difference:.1e} on {check.images} "
                f"images, expected at most {LIMIT:.0e}; nothing was kept. Choose another format"
            )


def _check_name(path: Path, suffix: str, name: str) -> None:
    if path.suffix != suffix:
        wanted = f"to end in {suffix}" if suffix else "to be a folder's name without a suffix"
        raise UsageError(f"expected --out {wanted} for {name}, found {path.name[-60:]!r}")
    if path.is_dir():
        raise UsageError(f"expected a new --out, found a folder: {storage.shown(path)}; delete it first")


@contextmanager
def _staging(path: Path) -> Iterator[Path]:
    """A folder beside `path`; what is in it at the end gets its name there, what describes it last."""
    folder = path.with_name(f"{_STAGING}{path.name}")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        yield folder
        for one in sorted(folder.iterdir(), key=lambda one: one.suffix == ".json"):
            one.replace(path.with_name(one.name))
    except OSError as error:
        raise storage.storage_error(path, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _files(folder: Path) -> Sequence[str]:
    return sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file())
