"""Inspection of a `.keras` file before Keras reads it, and a trial load in a limited child process.

The safe mode of Keras is no security boundary: whatever a file names is looked up and built. So a file is
refused unless its archive holds exactly the three parts that Keras writes, uncompressed; its config names
only the classes that the networks of this package consist of; and its weights are plain finite arrays, as
large as declared.
"""

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tumorboard import isolation
from tumorboard.data import sandbox
from tumorboard.errors import ModelError, TumorboardError, display
from tumorboard.models.pretrained_weights import plain_arrays

MAX_PARAMETERS = 500_000_000
MAX_BYTES = 4 * MAX_PARAMETERS + (64 << 20)
_MAX_CONFIG = 32 << 20  # bytes
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
"""Module and class of everything that the networks of this package consist of."""

_ACTIVATIONS = {"linear", "relu", "relu6", "softmax", "sigmoid", "swish", "silu", "gelu", "hard_silu"}
_ACTIVATIONS |= {"hard_swish", "hard_sigmoid", "tanh"}
_NAME = re.compile(r"\w[\w.-]*", re.ASCII)
_SIZES = ("units", "filters")

CHILD_MEMORY = 6 << 30
"""Bytes beyond those that the process uses once Keras is imported."""
CHILD_SECONDS = 120
LOADED = 0
REFUSED = 5
STARTED = "started\n"
"""What the child prints once everything is imported, before it opens the model."""


def load_in_child(path: Path) -> None:
    """Load the model in a child process of limited memory and time, and discard it.

    Raises:
        ModelError: It could not be loaded there.
        TumorboardError: The process could not be started, which says nothing about the model.
    """
    command = [sys.executable, "-P", "-m", "tumorboard.models.saving", str(path.absolute())]
    environment = {**isolation.child_environment(), "TF_CPP_MIN_LOG_LEVEL": "3"}
    limit = 2 * CHILD_SECONDS
    try:
        child = subprocess.run(  # noqa: S603
            command, capture_output=True, timeout=limit, env=environment, cwd=isolation.FOLDER, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{path} could not be loaded within {limit} s in a process of its own") from error
    _, started, refusal = child.stdout.decode("utf-8", "replace").partition(STARTED)
    if not started:
        reason = "".join(child.stderr.decode("utf-8", "replace").strip().splitlines()[-1:])
        raise TumorboardError(f"cannot start a process to load {path.name[-60:]} in: {reason[:150]}")
    if child.returncode == REFUSED:
        raise ModelError(refusal)
    if child.returncode != LOADED:
        raise ModelError(
            f"{str(path)[-100:]} could not be loaded in a process of limited memory and time "
            f"(it ended with {child.returncode}); it is damaged, hostile or too large"
        )


def limit_memory_and_time() -> None:
    """In the child: allow `CHILD_MEMORY` more bytes and `CHILD_SECONDS` of processor time."""
    usage = Path("/proc/self/statm")  # in pages; Linux only
    used = int(usage.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE") if usage.exists() else 0
    sandbox.limit_memory(used + CHILD_MEMORY)
    sandbox.limit_time(CHILD_SECONDS)


def inspect(path: Path) -> None:
    """Refuse a file that does not consist of parts that Tumorboard saves; nothing in it is run or built.

    Raises:
        ModelError: One line that names the file and the reason.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _Unfit(
                f"{path.stat().st_size:,} bytes, more than the {MAX_BYTES:,} of {MAX_PARAMETERS:,} weights"
            )
        with zipfile.ZipFile(path) as archive:
            check_parts(archive)
            weights = archive.read("model.weights.h5")  # through the archive HDF5 would be ten times slower
            with h5py.File(io.BytesIO(weights)) as content:
                largest = check_arrays(content)
            check_config(json.loads(archive.read("config.json")), largest)
    except _Unfit as error:
        raise load_error(path, str(error)) from None
    except TumorboardError:  # a second Ctrl-C, which is raised wherever the process is
        raise
    except Exception as error:  # whatever zipfile, HDF5 and JSON raise at damaged bytes
        raise load_error(path, f"a damaged archive ({type(error).__name__})") from error


def load_error(path: Path, found: str) -> ModelError:
    """Make the error for a file that is not loaded."""
    where = display(path)
    return ModelError(
        f"{where} cannot be loaded as a model: expected one that Tumorboard saved, "
        f"found {found[: 200 - len(where)]}; restore it or train again"
    )


class _Unfit(Exception):
    """The file is refused; the message completes "found ..."."""


def check_parts(archive: zipfile.ZipFile) -> None:
    """Allow exactly the expected parts, so no name can lead anywhere; uncompressed, so none can inflate."""
    names = sorted(item.filename for item in archive.infolist())
    if names != _PARTS:
        unexpected = [name for name in names if name not in _PARTS]
        if unexpected:
            raise _Unfit(f"{unexpected[0][:60]!r} in the archive")
        raise _Unfit("parts missing or twice in the archive")
    if any(item.compress_type != zipfile.ZIP_STORED or item.is_dir() for item in archive.infolist()):
        raise _Unfit("compressed parts, which Keras does not write")
    if archive.getinfo("config.json").file_size > _MAX_CONFIG:
        raise _Unfit("a config.json beyond any network's")


def check_arrays(content: h5py.File) -> int:
    """Check that every array is finite and stored as large as declared; return the longest axis."""
    total, largest = 0, 1
    try:
        arrays = plain_arrays(content)
    except ValueError as error:
        raise _Unfit(f"{error} in its weights") from error
    for name, array in arrays.items():
        if array.chunks is not None or array.id.get_storage_size() != array.nbytes:
            raise _Unfit(f"an array declared larger than it is, {name[-80:]!r}")
        total += array.size
        largest = max(largest, *array.shape, 1)
        if total > MAX_PARAMETERS:
            raise _Unfit(f"more than {MAX_PARAMETERS:,} weights")
        if array.dtype.kind == "f" and not np.isfinite(array[()]).all():
            raise _Unfit(f"NaN or infinity in the weights {name[-80:]!r}")
    return largest


def check_config(config: Any, largest: int) -> None:
    """Allow known classes, plain names, activations of Keras, and no layer wider than any stored array."""
    if not isinstance(config, dict) or config.get("class_name") != "Functional":
        raise _Unfit("no functional model in config.json")
    if config.get("compile_config"):
        raise _Unfit("a compiled model (save it uncompiled)")
    for item in nested_objects(config):
        if {"class_name", "module", "registered_name"} & item.keys():
            module, class_name = item.get("module") or "", item.get("class_name")
            if (module, class_name) not in ALLOWED:
                raise _Unfit(f"the class {f'{module}.{class_name}'[:80]!r} in config.json")
        settings = item.get("config")
        if not isinstance(settings, dict):
            continue
        name, activation = settings.get("name", "x"), settings.get("activation", "linear")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise _Unfit(f"a layer called {str(name)[:60]!r}")
        if activation not in _ACTIVATIONS:
            raise _Unfit(f"the activation {str(activation)[:60]!r}")
        for key in _SIZES:
            size = settings.get(key, 1)
            if not isinstance(size, int) or not 0 < size <= largest:
                raise _Unfit(f"a layer of {key} = {str(size)[:30]}, more than there are weights for")


def nested_objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every JSON object at any depth; not recursive, as a hostile file may nest deeply."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            yield item
            stack += item.values()
        elif isinstance(item, list):
            stack += item
