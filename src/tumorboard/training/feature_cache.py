"""The outputs of frozen layers, computed once for a few augmented views of every image and kept on disk."""

import contextlib
import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from tumorboard import progress, storage
from tumorboard.data.image_cache import Images, Rows
from tumorboard.models.augmentation import Augmented

_BATCH = 32

Views = Sequence[Sequence[np.ndarray | Rows]]
"""Per input of a network, per view: an array (N, ...), in memory or on disk."""


def compute_views(
    trunk: keras.Model,
    images: Images,
    folder: Path,
    *,
    views: int,
    augmented: bool,
    seed: int,
    on_batch: Callable[[int, int], None] = lambda done, total: None,
) -> Views:
    """Predict all images with the trunk, once per view; views that are on disk already are reused.

    Args:
        trunk: Image -> frozen tensors, with the augmentation inside if there is one.
        images: (N, H, W, 3) uint8.
        folder: Where the views are kept; each view is written atomically.
        views: Number of draws of the augmentation; only 1 is computed for a trunk without random layers.
        augmented: False switches the augmentation off (validation).
        seed: View v draws from (seed, v), whatever was computed before it.
        on_batch: Called with (done, total) in images.

    Raises:
        StorageError: The disk is full.
        Interrupted: A signal asked to stop; finished views are kept.
    """
    augmented = augmented and is_random(trunk)
    count = views if augmented else 1
    total, tensors = count * len(images), range(len(trunk.outputs))
    paths = [[folder / f"view{view}-{tensor}.npy" for tensor in tensors] for view in range(count)]
    network = Augmented(trunk) if augmented else trunk
    shapes = [(len(images), *tensor.shape[1:]) for tensor in trunk.outputs]
    with storage.exclusive(folder):  # another model with the same trunk may be trained at the same time
        for view, files in enumerate(paths):
            if not all(file.is_file() for file in files):
                rng = np.random.default_rng([seed, view])
                for state in _seed_states(trunk):
                    state.assign(rng.integers(0, 2**31, size=tuple(state.shape)).astype(state.dtype))

                def report(done: int, before: int = view * len(images)) -> None:
                    on_batch(before + done, total)

                _write_view(network, shapes, images, files, report)
    return [[np.load(files[tensor], mmap_mode="r") for files in paths] for tensor in tensors]


def _write_view(
    network: keras.Model,
    shapes: Sequence[tuple[int, ...]],
    images: Images,
    files: Sequence[Path],
    on_batch: Callable[[int], None],
) -> None:
    """Write one array per frozen tensor; all are renamed to their final names at the end."""
    with contextlib.ExitStack() as stack:
        appends = [
            stack.enter_context(storage.writing_array(file, shape, _storage(shape)))
            for file, shape in zip(files, shapes, strict=True)
        ]
        for start in range(0, len(images), _BATCH):
            progress.stop_if_asked()
            batch = images[start : start + _BATCH]
            outputs = network.predict_on_batch(batch)
            outputs = outputs if isinstance(outputs, list) else [outputs]
            for append, values in zip(appends, outputs, strict=True):
                append(values)
            on_batch(start + len(batch))


def affordable_views(trunk: keras.Model, images: int, views: int, gigabytes: float) -> tuple[int, float]:
    """Return how many views, at least one, fit into that much disk space, and the gigabytes that they take.

    A trunk without random layers has one view only.
    """
    views = views if is_random(trunk) else 1
    shapes = [(images, *tensor.shape[1:]) for tensor in trunk.outputs]
    size = sum(math.prod(shape) * np.dtype(_storage(shape)).itemsize for shape in shapes) / 1e9
    count = max(1, min(views, int(gigabytes / size))) if size else views
    return count, count * size


def is_random(model: keras.Model) -> bool:
    """Return whether the model draws random numbers in training."""
    return bool(_seed_states(model))


def cache_key(trunk: keras.Model, *parts: object) -> str:
    """Return a folder name for views, the same only for the same weights and the same further parts."""
    digest = hashlib.sha256(repr(parts).encode())
    for weight in trunk.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()[:16]


def _storage(shape: tuple[int, ...]) -> type[np.floating]:
    """Return half precision for maps, which halves the space at no measurable cost; vectors are small."""
    return np.float16 if len(shape) == 4 else np.float32


def _seed_states(model: keras.Model) -> list[keras.Variable]:
    return [variable for variable in model.variables if variable.path.endswith("seed_generator_state")]
