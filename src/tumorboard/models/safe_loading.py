"""Look through a `.keras` file before Keras reads it: it may hold layers that we make, numbers, and no more.

Keras's safe mode is no boundary: whatever a file names is looked up and built. So a file is refused unless
its archive holds exactly the three parts that Keras writes, uncompressed; its config names only the classes
of networks that this project builds; and its weights are plain finite arrays, as large as they say they are.
"""

import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tumorboard import isolation, storage
from tumorboard.errors import ModelError, TumorboardError
from tumorboard.models.pretrained_weights import plain_arrays

MAX_PARAMETERS = 500_000_000
MAX_BYTES = 4 * MAX_PARAMETERS + (64 << 20)
_MAX_CONFIG = 32 << 20
_PARTS = ["config.json", "metadata.json", "model.weights.h5"]

# fmt: off
_LAYERS = (
    "Activation", "Add", "Average", "AveragePooling2D", "BatchNormalization", "Concatenate", "Conv2D",
    "Cropping2D", "Dense", "DepthwiseConv2D", "Dropout", "Flatten", "GlobalAveragePooling2D",
    "GlobalMaxPooling2D", "Identity", "InputLayer", "LayerNormalization", "MaxPooling2D", "Multiply",
    "Normalization", "Permute", "RandomContrast", "RandomFlip", "RandomRotation", "RandomTranslation",
    "RandomZoom", "ReLU", "Rescaling", "Reshape", "SeparableConv2D", "Softmax", "ZeroPadding2D",
)
_INITIALIZERS = (
    "Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform",
    "Ones", "RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling", "Zeros",
)
# fmt: on
ALLOWED = {
    *(("keras.layers", name) for name in _LAYERS),
    *(("keras.initializers", name) for name in _INITIALIZERS),
    ("keras.src.models.functional", "Functional"),
    ("keras", "Sequential"),
    ("keras", "DTypePolicy"),
    ("", "__keras_tensor__"),
    # Keras's own, but not public: see docs/backbones.md.
    ("keras.src.ops.numpy", "Add"),
    ("keras.src.ops.numpy", "Multiply"),
    ("keras.src.applications.convnext", "LayerScale"),
    ("keras.src.applications.inception_resnet_v2", "CustomScaleLayer"),
}
"""Module and class of everything that a network of ours is made of."""

_ACTIVATIONS = {"linear", "relu", "relu6", "softmax", "sigmoid", "swish", "silu", "gelu", "hard_silu"}
_ACTIVATIONS |= {"hard_swish", "hard_sigmoid", "tanh"}
_NAME = re.compile(r"\w[\w.-]*", re.ASCII)
_SIZES = ("units", "filters")


def inspect(path: Path) -> None:
    """Refuse a file that is no network of ours; nothing in it is run, unpacked or built.

    Raises:
        ModelError: Says in one line what was found; the file is named.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _Unfit(
                f"{path.stat().st_size:,} bytes, more than the {MAX_BYTES:,} of {MAX_PARAMETERS:,} weights"
            )
        with zipfile.ZipFile(path) as archive:
            _check_parts(archive)
            weights = archive.read("model.weights.h5")  # through the archive HDF5 would be ten times slower
            with h5py.File(io.BytesIO(weights)) as content:
                widest = _check_arrays(content)
            _check_config(_config(archive), widest)
    except _Unfit as error:
        raise unfit(path, str(error)) from None
    except Exception as error:  # whatever zipfile, HDF5 and JSON raise at damaged bytes
        raise unfit(path, f"a damaged archive ({type(error).__name__})") from error


def unfit(path: Path, found: str) -> ModelError:
    """The error for a file that is not loaded."""
    return ModelError(
        f"{storage.shown(path)} cannot be loaded as a model: expected one that Tumorboard saved, "
        f"found {found[:130]}; restore it or train again"
    )


class _Unfit(Exception):
    """What was found."""


def _check_parts(archive: zipfile.ZipFile) -> None:
    """Exactly these, so no name can lead anywhere; uncompressed, so nothing can grow."""
    names = sorted(item.filename for item in archive.infolist())
    if names != _PARTS:
        odd = [name for name in names if name not in _PARTS]
        raise _Unfit(f"{odd[0][:60]!r} in the archive" if odd else "parts missing or twice in the archive")
    if any(item.compress_type != zipfile.ZIP_STORED or item.is_dir() for item in archive.infolist()):
        raise _Unfit("compressed parts, which Keras does not write")
    if archive.getinfo("config.json").file_size > _MAX_CONFIG:
        raise _Unfit("a config.json beyond any network's")


def _config(archive: zipfile.ZipFile) -> Any:
    return json.loads(archive.read("config.json"))


def _check_arrays(content: h5py.File) -> int:
    """Every array is stored as large as it says, and finite; returns the largest extent of any."""
    total, widest = 0, 1
    try:
        arrays = plain_arrays(content)
    except ValueError as error:
        raise _Unfit(f"{error} in its weights") from error
    for name, array in arrays.items():
        if array.chunks is not None or array.id.get_storage_size() != array.nbytes:
            raise _Unfit(f"an array that says to be larger than it is, {name[-80:]!r}")
        total += array.size
        widest = max(widest, *array.shape, 1)
        if total > MAX_PARAMETERS:
            raise _Unfit(f"more than {MAX_PARAMETERS:,} weights")
        _check_finite(name, array)
    return widest


def _check_finite(name: str, array: h5py.Dataset) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array[()]).all():
        raise _Unfit(f"NaN or infinity in the weights {name[-80:]!r}")


def _check_config(config: Any, widest: int) -> None:
    if not isinstance(config, dict) or config.get("class_name") != "Functional":
        raise _Unfit("no functional model in config.json")
    if config.get("compile_config"):
        raise _Unfit("a compiled model (save it uncompiled)")
    for one in _objects(config):
        _check_class(one)
        settings = one.get("config")
        if isinstance(settings, dict):
            _check_settings(settings, widest)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object, at any depth."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _check_class(one: dict[str, Any]) -> None:
    if not {"class_name", "module", "registered_name"} & one.keys():
        return
    module, name = one.get("module") or "", one.get("class_name")
    if (module, name) not in ALLOWED:
        raise _Unfit(f"the class {f'{module}.{name}'[:80]!r} in config.json")


def _check_settings(settings: dict[str, Any], widest: int) -> None:
    """Plain names, Keras's own activations, no layer wider than any array that is stored."""
    name, activation = settings.get("name", "x"), settings.get("activation", "linear")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _Unfit(f"a layer called {str(name)[:60]!r}")
    if activation not in _ACTIVATIONS:
        raise _Unfit(f"the activation {str(activation)[:60]!r}")
    for key in _SIZES:
        size = settings.get(key, 1)
        if not isinstance(size, int) or not 0 < size <= widest:
            raise _Unfit(f"a layer of {key} = {str(size)[:30]}, more than there are weights for")


try:
    import resource
except ImportError:  # Windows has no such limits; the time limit holds there too
    resource = None  # type: ignore[assignment]

MEMORY = 6 << 30
"""Bytes beyond what the process holds when Keras is imported."""
SECONDS = 120
ENDED_WELL = 0
REFUSED = 5
STARTED = "started\n"
"""What the child prints once everything is imported, before it opens the model."""


def load(path: Path) -> None:
    """Load the model in another process, and forget it.

    Raises:
        ModelError: It could not be loaded there; says why.
        TumorboardError: The process could not be started, which says nothing about the model.
    """
    command = [sys.executable, "-P", "-m", "tumorboard.models.saving", str(path.absolute())]
    quiet = {**isolation.child_environment(), "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        ran = subprocess.run(  # noqa: S603
            command, capture_output=True, timeout=2 * SECONDS, env=quiet, cwd=isolation.FOLDER, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"{path} could not be loaded within {2 * SECONDS} s in a process of its own"
        ) from error
    _, started, refusal = ran.stdout.decode("utf-8", "replace").partition(STARTED)
    if not started:
        reason = "".join(ran.stderr.decode("utf-8", "replace").strip().splitlines()[-1:])
        raise TumorboardError(f"cannot start a process to load {path.name[-60:]} in: {reason[:150]}")
    if ran.returncode == REFUSED:
        raise ModelError(refusal)
    if ran.returncode != ENDED_WELL:
        raise ModelError(
            f"{str(path)[-100:]} could not be loaded in a process of limited memory and time "
            f"(it ended with {ran.returncode}); it is damaged, hostile or too large"
        )


def limit_memory_and_time() -> None:
    """In the child: allow `MEMORY` more bytes and `SECONDS` of processor time, and no core dump."""
    if not resource:
        return
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if _has_proc() else 0
    for limit, value in ((resource.RLIMIT_AS, held + MEMORY), (resource.RLIMIT_CPU, SECONDS)):
        resource.setrlimit(limit, (value, resource.getrlimit(limit)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _has_proc() -> bool:
    return Path("/proc/self/statm").exists()
