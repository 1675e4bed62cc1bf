"""Reading weights from HDF5 files, ours and strangers'.

A stranger's file holds numbers and nothing else: it is looked through before Keras reads it, and only
into an architecture that this project built. Two layouts are known, told apart by content: Keras 3's
`.weights.h5`, and the older one of keras.applications' `*_notop.h5`, whose layers are matched by order.
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
from collections.abc import Callable, Iterator
from importlib import resources
from itertools import count, takewhile
from pathlib import Path

import h5py
import keras
import numpy as np

from tumorboard.errors import ModelError

Shapes = list[tuple[str, list[tuple[int, ...]]]]


def load_embedded(model: keras.Model, name: str) -> None:
    """Load the package's own weights, if they are the ones that were shipped.

    Raises:
        ModelError: The file is damaged.
    """
    folder = resources.files("tumorboard.models") / "weights"
    record = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    with resources.as_file(folder / f"{name}.weights.h5") as file:
        if hashlib.sha256(file.read_bytes()).hexdigest() != record["sha256"]:
            raise ModelError(f"{file} differs from what was shipped (SHA-256); reinstall tumorboard")
        model.load_weights(file)


def require(file: Path) -> None:
    """Raise ModelError unless there is an HDF5 file."""
    if not file.is_file() or not h5py.is_hdf5(file):
        found = "something else (PyTorch, pickle, .keras?)" if file.exists() else "no such file"
        raise _unfit(file, "an HDF5 file of weights", found)


def load_file(model: keras.Model, file: Path) -> None:
    """Load a user's weights file.

    Args:
        model: The backbone, without its classifier.
        file: `.weights.h5`, or `.h5` in the layout of keras.applications' `*_notop.h5`.

    Raises:
        ModelError: Not such a file, or the file of another network: names the first thing that does not fit.
    """
    require(file)
    try:
        _check(model, file)
        doubts = _load(model, file)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise _unfit(file, f"the weights of {model.name}", _core_of(error)) from error
    if doubts:
        raise _unfit(file, f"the weights of {model.name}", doubts[0])
    _check_finite(model, file)


def _load(model: keras.Model, file: Path) -> list[str]:
    """Keras warns of layers that it leaves as they are; here that is a failure."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        model.load_weights(file)
    return [str(one.message) for one in caught if issubclass(one.category, UserWarning)]


def _check(model: keras.Model, file: Path) -> None:
    with h5py.File(file, "r") as content:
        if "model_config" in content.attrs or "model_weights" in content:
            raise _unfit(file, "weights only", "a whole model (re-save it with model.save_weights)")
        old = "layer_names" in content.attrs or "layer_names0" in content.attrs
        _check_suffix(file, old)
        arrays = _arrays(content, file)
        if old:
            _check_layers(model, content, file)
        else:
            _check_shapes(model, arrays, file)
        _check_size(model, arrays, file)


def _check_suffix(file: Path, old: bool) -> None:
    """Keras chooses the layout by the file's name; the content must agree."""
    if old == file.name.endswith(".weights.h5") or file.suffix not in {".h5", ".hdf5"}:
        layout, suffix = ("the older layout", ".h5") if old else ("Keras 3's layout", ".weights.h5")
        raise _unfit(file, f"a name ending in {suffix}, as {layout} needs", repr(file.name))


def _arrays(content: h5py.File, file: Path) -> dict[str, h5py.Dataset]:
    try:
        return plain_arrays(content)
    except ValueError as error:
        raise _unfit(file, "plain weights", str(error)) from error


def plain_arrays(content: h5py.File) -> dict[str, h5py.Dataset]:
    """All arrays by path; nothing is read.

    Raises:
        ValueError: Says what was found that is no plain array of numbers, kept in the file itself. Links are
            refused: they can lead to other files; so is data kept elsewhere.
    """
    arrays, groups, seen = {}, [content], set()
    while groups:
        group = groups.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"a link at {group.name + '/' + name!r}")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                raise ValueError(f"a second way to {item.name!r}")
            seen.add(address)
            if isinstance(item, h5py.Group):
                groups.append(item)
            elif _is_plain(item):
                arrays[item.name] = item
            else:
                raise ValueError(f"no array of numbers at {item.name!r}")
    return arrays


def _is_plain(item: h5py.Dataset | h5py.Datatype) -> bool:
    return (
        isinstance(item, h5py.Dataset)
        and item.dtype.kind in "fiu"
        and not item.external
        and not item.is_virtual
        and item.shape is not None
    )


def _check_size(model: keras.Model, arrays: dict[str, h5py.Dataset], file: Path) -> None:
    """A file may declare far more than it stores; nothing is read before the declared size is known."""
    found = sum(int(np.prod(array.shape, dtype=object)) * array.dtype.itemsize for array in arrays.values())
    needed = sum(int(np.prod(weight.shape)) * 4 for weight in model.weights)
    if found > 2 * needed + 2**20:
        raise _unfit(file, f"about {needed:,} bytes of weights for {model.name}", f"{found:,}")


def _check_shapes(model: keras.Model, arrays: dict[str, h5py.Dataset], file: Path) -> None:
    """Keras notices what is missing, but not what is too much, and says it at length."""
    expected = [tuple(weight.shape) for weight in model.weights if "float" in weight.dtype]
    found = [array.shape for array in arrays.values() if array.dtype.kind == "f"]
    if len(found) != len(expected):
        raise _unfit(file, f"{len(expected)} arrays for {model.name}", f"{len(found)}")
    missing, surplus = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
    if missing:
        wanted = next(iter(missing))
        likest = min(surplus, key=lambda shape: len(shape) != len(wanted))
        raise _unfit(file, f"an array of shape {wanted}", f"{likest}")


def _check_layers(model: keras.Model, content: h5py.File, file: Path) -> None:
    expected, found = _expected_layers(model), _layers_in(content)
    for (layer, wanted), (name, shapes) in zip(expected, found, strict=False):
        if wanted != shapes:
            raise _unfit(file, f"shapes {wanted} for layer {layer}", f"{shapes} in {name!r}")
    if len(expected) != len(found):
        raise _unfit(file, f"{len(expected)} layers with weights for {model.name}", str(len(found)))


def _expected_layers(model: keras.Model) -> Shapes:
    with_weights = [layer for layer in model.layers if layer.weights]
    ordered = [
        (layer.name, [*layer.trainable_weights, *layer.non_trainable_weights]) for layer in with_weights
    ]
    return [(name, [tuple(weight.shape) for weight in weights]) for name, weights in ordered]


def _layers_in(content: h5py.File) -> Shapes:
    layers = [(name, content[name]) for name in _names(content, "layer_names")]
    shapes = [(name, [group[key].shape for key in _names(group, "weight_names")]) for name, group in layers]
    return [(name, found) for name, found in shapes if found]


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """A list of names, which HDF5's 64 KB limit may have cut into numbered pieces."""
    numbered = takewhile(group.attrs.__contains__, (f"{attribute}{number}" for number in count()))
    pieces = [attribute] if attribute in group.attrs else list(numbered)
    names = [name for piece in pieces for name in group.attrs[piece]]
    return [name.decode("utf-8") if isinstance(name, bytes) else str(name) for name in names]


def _check_finite(model: keras.Model, file: Path) -> None:
    for weight in model.weights:
        if "float" in weight.dtype and not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
            raise _unfit(file, "finite numbers", f"NaN or infinity in {weight.path}")


def _core_of(error: Exception) -> str:
    """Keras wraps the telling sentence into several paragraphs."""
    paragraphs = [" ".join(part.split()) for part in str(error).split("\n\n")]
    return (paragraphs[1] if len(paragraphs) > 1 else paragraphs[0]) or type(error).__name__


def _unfit(file: Path, expected: str, found: str) -> ModelError:
    advice = 'give "imagenet", "none" or a weights file of this backbone (docs/backbones.md)'
    return ModelError(f"{str(file)[-80:]}: expected {expected[:60]}, found {found[:60]}; {advice}")


SECONDS_WITHOUT_ANSWER = 20.0
EMBEDDED = "efficientnet-lite0"
"""The backbone whose ImageNet weights are in the package."""


def fetch(name: str, builder: Callable[..., keras.Model], input_shape: tuple[int, int, int]) -> keras.Model:
    """Build a network with its ImageNet weights; Keras checks the file's hash where it knows one.

    Args:
        name: For errors.
        builder: Of keras.applications.
        input_shape: Height, width, 3, known to fit.

    Raises:
        ModelError: The file is damaged, or neither in the cache nor in reach: says what to put where.
    """
    try:
        with _limited_patience(), contextlib.redirect_stdout(sys.stderr):  # standard output is for results
            return builder(weights="imagenet", include_top=False, input_shape=input_shape)
    except Exception as error:  # when a download fails, Keras raises nothing narrower
        raise _unfetched(name, str(error)) from error


@contextlib.contextmanager
def _limited_patience() -> Iterator[None]:
    """Keras sets no limit: a network that drops packets would hold the run for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_WITHOUT_ANSWER)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _unfetched(name: str, error: str) -> ModelError:
    folder = str(Path(os.environ.get("KERAS_HOME", "~/.keras")) / "models")
    reason = " ".join(error.split())
    failure = re.match(r"URL fetch failure on (\S+): (.*)", reason)
    if failure is None:
        return ModelError(
            f"{name}: expected its ImageNet weights in {folder[-50:]} or online, found {reason[:90]!r}; "
            f"repeat, or use the embedded {EMBEDDED}"
        )
    return ModelError(
        f"{name}: no ImageNet weights in {folder[-50:]} or online; put {failure[1]} there, "
        f"or use {EMBEDDED}, embedded and offline",
        [f"folder: {folder}", f"reason: {failure[2]}"],
    )
