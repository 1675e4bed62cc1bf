"""What is frozen is computed once: the trunk's output for a few augmented views of every image, on disk."""

import contextlib
import functools
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
    """Run the trunk over all images, once for each view; a view that is on disk already is not repeated.

    Args:
        trunk: Image -> frozen tensors, with the augmentation inside if there is one.
        images: (N, H, W, 3) uint8.
        folder: Where the views are kept; a view appears there whole or not at all.
        views: How many draws of the augmentation; 1 is enough for a trunk that has none.
        augmented: False switches the augmentation off (validation).
        seed: View v draws from (seed, v), whatever was computed before it.
        on_batch: Told (done, total) in images.

    Raises:
        StorageError: The disk is full.
        Interrupted: A signal asked to stop; finished views are kept.
    """
    drawn = augmented and is_random(trunk)
    count = views if drawn else 1
    total, tensors = count * len(images), range(len(trunk.outputs))
    paths = [[folder / f"view{view}-{tensor}.npy" for tensor in tensors] for view in range(count)]
    run = Augmented(trunk) if drawn else trunk
    shapes = [(len(images), *tensor.shape[1:]) for tensor in trunk.outputs]
    with storage.turn(folder):  # another model of the same trunk may be made at once
        for view, files in enumerate(paths):
            if not all(file.is_file() for file in files):
                _reseed(trunk, seed, view)
                progress = functools.partial(_add, on_batch, view * len(images), total)
                _write_view(run, shapes, images, files, progress)
    return [[np.load(files[tensor], mmap_mode="r") for files in paths] for tensor in tensors]


def affordable_views(trunk: keras.Model, images: int, views: int, gigabytes: float) -> tuple[int, float]:
    """How many views fit into that much disk, at least one, and the gigabytes that they take.

    Of a trunk that draws nothing one view is all there is.
    """
    views = views if is_random(trunk) else 1
    shapes = [tensor.shape[1:] for tensor in trunk.outputs]
    one = sum(images * math.prod(shape) * np.dtype(_storage((0, *shape))).itemsize for shape in shapes) / 1e9
    count = max(1, min(views, int(gigabytes / one))) if one else views
    return count, count * one


def _add(on_batch: Callable[[int, int], None], before: int, total: int, done: int) -> None:
    on_batch(before + done, total)


def is_random(model: keras.Model) -> bool:
    """Whether the model draws random numbers in training."""
    return bool(_seed_states(model))


def cache_key(trunk: keras.Model, *parts: object) -> str:
    """A folder name for views: the same only for the same weights and the same further parts."""
    digest = hashlib.sha256(repr(parts).encode())
    for weight in trunk.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()[:16]


def _write_view(
    run: keras.Model,
    shapes: Sequence[tuple[int, ...]],
    images: Images,
    files: Sequence[Path],
    on_batch: Callable[[int], None],
) -> None:
    """Fill one array on disk for each frozen tensor; all are renamed at the end."""
    with contextlib.ExitStack() as stack:
        targets = [
            stack.enter_context(storage.writing_array(file, shape, _storage(shape)))
            for file, shape in zip(files, shapes, strict=True)
        ]
        for start in range(0, len(images), _BATCH):
            progress.stop_if_asked()
            batch = images[start : start + _BATCH]
            for target, values in zip(targets, _as_list(run.predict_on_batch(batch)), strict=True):
                target[start : start + len(batch)] = values
            on_batch(start + len(batch))


def _storage(shape: tuple[int, ...]) -> type[np.floating]:
    """Maps in half precision, which halves the disk and costs nothing measurable; vectors are small."""
    return np.float16 if len(shape) == 4 else np.float32


def _as_list(outputs: np.ndarray | list[np.ndarray]) -> list[np.ndarray]:
    return outputs if isinstance(outputs, list) else [outputs]


def _reseed(model: keras.Model, seed: int, view: int) -> None:
    draws = np.random.default_rng([seed, view])
    for state in _seed_states(model):
        state.assign(draws.integers(0, 2**31, size=tuple(state.shape)).astype(state.dtype))


def _seed_states(model: keras.Model) -> list[keras.Variable]:
    return [variable for variable in model.variables if variable.path.endswith("seed_generator_state")]
