"""Pretrained weights: the embedded ones, downloaded ImageNet weights, and HDF5 files of the user.

A user's file may come from a stranger. It is inspected before Keras reads it, and only loaded into an
architecture that this package has built. Two layouts are accepted and distinguished by content: `.weights.h5`
of Keras 3, and the older one of keras.applications' `*_notop.h5`, whose layers are matched by order.
"""

import contextlib
import hashlib
import json
import os
import re
import socket
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from importlib import resources
from itertools import count, takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from tumorboard.errors import ModelError

if TYPE_CHECKING:
    import keras

EMBEDDED = "efficientnet-lite0"
"""The backbone whose ImageNet weights are part of this package."""

DOWNLOAD_TIMEOUT = 20.0
"""Seconds without an answer after which a download fails; Keras itself sets no limit."""


def load_embedded(model: "keras.Model", name: str) -> None:
    """Load the weights that are part of the package, after comparing their SHA-256 with the recorded one.

    Raises:
        ModelError: The file is damaged.
    """
    folder = resources.files("tumorboard.models") / "weights"
    record = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    with resources.as_file(folder / f"{name}.weights.h5") as file:
        if hashlib.sha256(file.read_bytes()).hexdigest() != record["sha256"]:
            raise ModelError(f"{file} differs from what was shipped (SHA-256); reinstall tumorboard")
        model.load_weights(file)


def fetch_imagenet(
    name: str, builder: "Callable[..., keras.Model]", input_shape: tuple[int, int, int]
) -> "keras.Model":
    """Build a network with its ImageNet weights from the cache of Keras, or downloaded into it.

    Keras checks the file's hash where it knows one.

    Args:
        name: The backbone's name, for errors.
        builder: Function of keras.applications.
        input_shape: Height, width, 3; an accepted size.

    Raises:
        ModelError: The file is damaged, or neither cached nor reachable; the message names file and folder.
    """
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output is for results
            return builder(weights="imagenet", include_top=False, input_shape=input_shape)
    except Exception as error:  # when a download fails, Keras raises nothing narrower
        folder = str(Path(os.environ.get("KERAS_HOME", "~/.keras")) / "models")
        reason = " ".join(str(error).split())
        failure = re.match(r"URL fetch failure on (\S+): (.*)", reason)
        if failure is None:
            raise ModelError(
                f"{name}: expected its ImageNet weights in {folder[-50:]} or online, found {reason[:90]!r}; "
                f"repeat, or use the embedded {EMBEDDED}"
            ) from error
        raise ModelError(
            f"{name}: no ImageNet weights in {folder[-50:]} or online; put {failure[1]} there, "
            f"or use {EMBEDDED}, embedded and offline",
            [f"folder: {folder}", f"reason: {failure[2]}"],
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


def check_is_hdf5(file: Path) -> None:
    """Raise ModelError unless the file exists and is HDF5."""
    if not file.is_file() or not h5py.is_hdf5(file):
        actual = "something else (PyTorch, pickle, .keras?)" if file.exists() else "no such file"
        raise _unfit(file, "an HDF5 file of weights", actual)


def load_file(model: "keras.Model", file: Path) -> None:
    """Load a user's weights file.

    Args:
        model: The backbone, without its classifier.
        file: `.weights.h5`, or `.h5` in the layout of keras.applications' `*_notop.h5`.

    Raises:
        ModelError: Not such a file, or weights of another network; the message names the first difference.
    """
    check_is_hdf5(file)
    try:
        _inspect(model, file)
        with warnings.catch_warnings(record=True) as caught:  # Keras only warns of layers that it skips
            warnings.simplefilter("always", UserWarning)
            model.load_weights(file)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        # The informative sentence is the second of the paragraphs that Keras writes.
        paragraphs = [" ".join(part.split()) for part in str(error).split("\n\n")]
        reason = (paragraphs[1] if len(paragraphs) > 1 else paragraphs[0]) or type(error).__name__
        raise _unfit(file, f"the weights of {model.name}", reason) from error
    skipped = [str(item.message) for item in caught if issubclass(item.category, UserWarning)]
    if skipped:
        raise _unfit(file, f"the weights of {model.name}", skipped[0])
    import keras  # seconds to import

    for weight in model.weights:
        if "float" in weight.dtype and not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
            raise _unfit(file, "finite numbers", f"NaN or infinity in {weight.path}")


def _inspect(model: "keras.Model", file: Path) -> None:
    """Compare layout, names, shapes and declared size with the model; no array is read."""
    with h5py.File(file, "r") as content:
        if "model_config" in content.attrs or "model_weights" in content:
            raise _unfit(file, "weights only", "a whole model (re-save it with model.save_weights)")
        is_old = "layer_names" in content.attrs or "layer_names0" in content.attrs
        # Keras chooses the layout by the file's name, so the name must agree with the content.
        if is_old == file.name.endswith(".weights.h5") or file.suffix not in {".h5", ".hdf5"}:
            layout, suffix = ("the older layout", ".h5") if is_old else ("Keras 3's layout", ".weights.h5")
            raise _unfit(file, f"a name ending in {suffix}, as {layout} needs", repr(file.name))
        try:
            arrays = plain_arrays(content)
        except ValueError as error:
            raise _unfit(file, "plain weights", str(error)) from error
        if is_old:
            _compare_layers(model, content, file)
        else:
            _compare_shapes(model, arrays, file)
        # A file may declare far more than it stores.
        actual = sum(
            int(np.prod(array.shape, dtype=object)) * array.dtype.itemsize for array in arrays.values()
        )
        needed = sum(int(np.prod(weight.shape)) * 4 for weight in model.weights)
        if actual > 2 * needed + 2**20:
            raise _unfit(file, f"about {needed:,} bytes of weights for {model.name}", f"{actual:,}")


def plain_arrays(content: h5py.File) -> dict[str, h5py.Dataset]:
    """List all arrays by path without reading any.

    Raises:
        ValueError: The file holds something else than plain arrays of numbers stored in the file itself; the
            message names it. Links are refused, as they can lead to other files; so is external data.
    """
    arrays, groups, addresses = {}, [content], set()
    while groups:
        group = groups.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"a link at {group.name + '/' + name!r}")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in addresses:
                raise ValueError(f"a second way to {item.name!r}")
            addresses.add(address)
            if isinstance(item, h5py.Group):
                groups.append(item)
            elif (
                isinstance(item, h5py.Dataset)
                and item.dtype.kind in "fiu"
                and not item.external
                and not item.is_virtual
                and item.shape is not None
            ):
                arrays[item.name] = item
            else:
                raise ValueError(f"no array of numbers at {item.name!r}")
    return arrays


def _compare_shapes(model: "keras.Model", arrays: dict[str, h5py.Dataset], file: Path) -> None:
    """Compare the shapes of a file of Keras 3, regardless of order; Keras ignores surplus arrays."""
    expected = [tuple(weight.shape) for weight in model.weights if "float" in weight.dtype]
    actual = [array.shape for array in arrays.values() if array.dtype.kind == "f"]
    if len(actual) != len(expected):
        raise _unfit(file, f"{len(expected)} arrays for {model.name}", f"{len(actual)}")
    missing, surplus = Counter(expected) - Counter(actual), Counter(actual) - Counter(expected)
    if missing:
        shape = next(iter(missing))
        closest = min(surplus, key=lambda other: len(other) != len(shape))
        raise _unfit(file, f"an array of shape {shape}", f"{closest}")


def _compare_layers(model: "keras.Model", content: h5py.File, file: Path) -> None:
    """Compare the shapes of a file of the older layout layer by layer, in order."""
    expected = [
        (
            layer.name,
            [tuple(weight.shape) for weight in layer.trainable_weights + layer.non_trainable_weights],
        )
        for layer in model.layers
        if layer.weights
    ]
    actual = []
    for name in _names(content, "layer_names"):
        group = content[name]
        if shapes := [group[key].shape for key in _names(group, "weight_names")]:
            actual.append((name, shapes))
    for (layer, expected_shapes), (name, shapes) in zip(expected, actual, strict=False):
        if expected_shapes != shapes:
            raise _unfit(file, f"shapes {expected_shapes} for layer {layer}", f"{shapes} in {name!r}")
    if len(expected) != len(actual):
        raise _unfit(file, f"{len(expected)} layers with weights for {model.name}", str(len(actual)))


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Read a list of names, which HDF5's limit of 64 KB per attribute may have cut into numbered pieces."""
    numbered = takewhile(group.attrs.__contains__, (f"{attribute}{number}" for number in count()))
    pieces = [attribute] if attribute in group.attrs else list(numbered)
    names = [name for piece in pieces for name in group.attrs[piece]]
    return [name.decode("utf-8") if isinstance(name, bytes) else str(name) for name in names]


def _unfit(file: Path, expected: str, actual: str) -> ModelError:
    advice = 'give "imagenet", "none" or a weights file of this backbone (docs/backbones.md)'
    return ModelError(f"{str(file)[-80:]}: expected {expected[:60]}, found {actual[:60]}; {advice}")
