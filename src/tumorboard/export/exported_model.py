"""Export of models to another runtime, kept only if it predicts there as Keras does."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tumorboard import progress, storage
from tumorboard.errors import ModelError, TumorboardError, UsageError, display
from tumorboard.export import formats
from tumorboard.export.formats import FORMATS, Array, Predict

if TYPE_CHECKING:  # files are opened without Keras
    import keras

    from tumorboard.models.model_spec import ModelSpec

LIMIT = 1e-4
"""The largest difference from Keras that is accepted, of each output."""


@dataclass(frozen=True)
class ExportedModel:
    """Networks in another runtime.

    Attributes:
        predict: See `formats.Predict`.
    """

    predict: Predict

    def predict_on_batch(self, image: npt.NDArray[Any]) -> list[Array]:
        """Predict raw pixels of any type, as a Keras model of several outputs does."""
        return self.predict(image.astype(np.float32))


@dataclass(frozen=True)
class ExportCheck:
    """How an exported file compared with Keras.

    Attributes:
        images: Number of compared images.
        real: Whether they are the run's own; random ones otherwise.
        differences: The largest difference of each output; relative to the largest value if that exceeds 1.
    """

    images: int
    real: bool
    differences: Mapping[str, float]


def open_exported(path: Path, name: str, size: int) -> ExportedModel:
    """Open a file of the format `name` in its runtime, for one image of `size` per call.

    Raises:
        ModelError: Its runtime cannot read it.
    """
    try:
        return ExportedModel(FORMATS[name].open(path, size))
    except TumorboardError:
        raise
    except Exception as error:  # each runtime has errors of its own
        raise ModelError(
            f"{path.name} cannot be opened by its runtime: {_reason(error)}; export it again"
        ) from error


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0][:100] if str(error) else type(error).__name__


def check_path(path: Path, name: str) -> None:
    """Check that an export in the format `name` can be written at `path`; needs no Keras.

    Raises:
        UsageError: Another suffix, or an existing folder.
        StorageError: The disk is full or not writable.
    """
    suffix = FORMATS[name].suffix
    if path.suffix != suffix:
        ending = f"to end in {suffix}" if suffix else "to be a folder's name without a suffix"
        raise UsageError(f"expected --out {ending} for {name}, found {path.name[-60:]!r}")
    if path.is_dir():
        raise UsageError(f"expected a new --out, found a folder: {display(path)}; delete it first")
    storage.require_writable(path.parent)


def export_checked(
    networks: "Mapping[str, keras.Model]",
    spec: "ModelSpec",
    sha256: str,
    name: str,
    path: Path,
    images: npt.NDArray[np.uint8],
    real: bool,
) -> ExportCheck:
    """Write networks as one file, open it in its runtime, compare with Keras, and only then keep it.

    Args:
        networks: By output name, as in the run.
        spec: Specification of the models.
        sha256: Hash that identifies the run's files.
        name: The format.
        path: The new file or folder.
        images: Images to compare on, uint8 (N, S, S, 3).
        real: Whether they are images of the run.

    Raises:
        UsageError: Unknown format, missing packages, or as `check_path`.
        ModelError: An output differs from Keras by more than `LIMIT`; nothing is kept then.
        StorageError: The disk is full or not writable.
    """
    format_ = formats.find(name)
    check_path(path, name)
    from tumorboard.models.inference import inference_graph  # Keras, seconds to import

    graph = inference_graph(networks)
    outputs = {output: list(tensor.shape[1:]) for output, tensor in zip(networks, graph.outputs, strict=True)}
    record = {**spec.to_json(), "outputs": outputs, "format": name, "model_sha256": sha256}
    folder = path.with_name(f".exporting-{path.name}")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            format_.write(graph, folder / path.name, record)
        except (OSError, TumorboardError):
            raise
        except Exception as error:  # each converter has errors of its own
            raise ModelError(f"the model cannot be written as {name}: {_reason(error)}") from error
        check = _compare(networks, open_exported(folder / path.name, name, spec.image.size), images, real)
        for output, difference in check.differences.items():
            if not difference <= LIMIT:  # also if it is NaN
                raise ModelError(
                    f"the {name} file's {output} differs from Keras by {difference:.1e} on {len(images)} "
                    f"images, expected at most {LIMIT:.0e}; nothing was kept. Choose another format"
                )
        compared = {"images": len(images), "real": real, "largest_difference": dict(check.differences)}
        files = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
        hashes = {file: storage.sha256(folder / file) for file in files}
        storage.write_json(
            record_path(folder / path.name), {**record, "compared": compared, "sha256": hashes}
        )
        for item in sorted(folder.iterdir(), key=lambda item: item.suffix == ".json"):  # the record last
            item.replace(path.with_name(item.name))
    except OSError as error:
        raise storage.storage_error(path, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return check


def _compare(
    networks: "Mapping[str, keras.Model]", exported: ExportedModel, images: npt.NDArray[np.uint8], real: bool
) -> ExportCheck:
    """Compare each network by itself with its output of the exported whole; raises ModelError at a class."""
    differences = {}
    for (name, network), actual in zip(networks.items(), _outputs(exported, images), strict=True):
        expected = _outputs(network, images)[0]
        differences[name] = difference(expected, actual)
        others = int((expected.argmax(axis=1) != actual.argmax(axis=1)).sum())
        if others and not name.endswith(formats.EMBEDDING) and differences[name] <= LIMIT:
            raise ModelError(
                f"{name} predicts another class than Keras for {others} of {len(images)} images; nothing was "
                "kept. Choose another format"
            )
    return ExportCheck(len(images), real, differences)


def _outputs(network: Any, images: npt.NDArray[np.uint8]) -> list[Array]:
    """Predict each output, (N, ...), one image per call."""
    rows = []
    for number in range(len(images)):
        progress.stop_if_asked()
        outputs = network.predict_on_batch(images[number : number + 1])
        rows.append(outputs if isinstance(outputs, list) else [outputs])
    return [np.concatenate(output) for output in zip(*rows, strict=True)]


def difference(expected: Array, actual: Array) -> float:
    """Return the largest difference, relative to the largest value if that exceeds 1, as float32 rounds."""
    return float(np.abs(expected - actual).max() / max(1.0, np.abs(expected).max()))


def is_export(path: Path, name: str, sha256: str, outputs: Sequence[str]) -> bool:
    """Return whether an undamaged export of this format, these outputs and files of this hash is there."""
    try:
        record = json.loads(record_path(path).read_text(encoding="utf-8"))
        return bool(
            (record["format"], record["model_sha256"], tuple(record["outputs"]))
            == (name, sha256, tuple(outputs))
            and record["sha256"]
            and all(storage.sha256(path.parent / file) == value for file, value in record["sha256"].items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def record_path(path: Path) -> Path:
    """Return the path of the record of an export."""
    return path.with_name(f"{path.name}.json")
