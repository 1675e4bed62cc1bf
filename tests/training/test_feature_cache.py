import errno
import os
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from tumorboard import progress
from tumorboard.data.image_cache import Rows
from tumorboard.errors import Interrupted, StorageError
from tumorboard.training import feature_cache

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)


def trunk_of(random: bool = True, seed: int = 0) -> keras.Model:
    """A map and a vector, as a trunk with two frozen tensors has."""
    image = keras.Input((8, 8, 3))
    x = layers.RandomFlip("horizontal", seed=5)(image) if random else layers.Identity()(image)
    start = keras.initializers.GlorotUniform(seed=seed)
    frozen = layers.Conv2D(2, 3, kernel_initializer=start)(layers.Rescaling(1 / 255)(x))
    return keras.Model(image, [frozen, layers.GlobalMaxPooling2D()(frozen)])


@pytest.fixture(scope="module")
def trunk() -> keras.Model:
    return trunk_of()


def compute(trunk: keras.Model, folder: Path, **options: object) -> list[list[np.ndarray]]:
    found = feature_cache.compute_views(
        trunk, IMAGES, folder, **{"views": 3, "augmented": True, "seed": 1, **options}
    )
    return [[np.array(view) for view in tensor] for tensor in found]


def same(first: list[list[np.ndarray]], second: list[list[np.ndarray]]) -> bool:
    return all(
        np.array_equal(a, b)
        for one, other in zip(first, second, strict=True)
        for a, b in zip(one, other, strict=True)
    )


def test_views_are_the_trunks_output_for_the_images_as_drawn(trunk: keras.Model, tmp_path: Path) -> None:
    maps, vectors = compute(trunk, tmp_path)
    plain, mirrored = (trunk.predict_on_batch(one)[0] for one in (IMAGES, IMAGES[:, :, ::-1]))
    assert [view.dtype for view in (maps[0], vectors[0])] == [np.float16, np.float32]
    for view in maps:
        flipped = np.isclose(view, mirrored, atol=1e-2).all((1, 2, 3))
        assert (flipped | np.isclose(view, plain, atol=1e-2).all((1, 2, 3))).all()
        assert 5 < flipped.sum() < 35
    assert not np.array_equal(maps[0], maps[1])


def test_without_augmentation_there_is_one_view_and_it_is_exact(trunk: keras.Model, tmp_path: Path) -> None:
    maps, vectors = compute(trunk, tmp_path, augmented=False)
    assert (len(maps), len(vectors)) == (1, 1)
    expected = [trunk.predict_on_batch(IMAGES[start : start + 32]) for start in (0, 32)]
    np.testing.assert_array_equal(vectors[0], np.vstack([one[1] for one in expected]))


def test_a_trunk_that_draws_nothing_has_one_view(tmp_path: Path) -> None:
    assert not feature_cache.is_random(trunk_of(random=False))
    assert len(compute(trunk_of(random=False), tmp_path)[0]) == 1


def test_a_view_depends_on_the_seed_and_its_number_alone(trunk: keras.Model, tmp_path: Path) -> None:
    first = compute(trunk, tmp_path / "a")
    compute(trunk, tmp_path / "b", seed=2)  # draws that must leave no trace
    (tmp_path / "a" / "view1-0.npy").unlink()
    assert same(compute(trunk, tmp_path / "a"), first)
    assert same(compute(trunk_of(), tmp_path / "c"), first)
    assert not same(compute(trunk, tmp_path / "b", seed=2), first)


def test_what_is_on_disk_is_not_computed_again(
    trunk: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = compute(trunk, tmp_path)

    def refuse(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(keras.Model, "predict_on_batch", refuse)
    assert same(compute(trunk, tmp_path), first)


def test_interrupted_it_keeps_whole_views_and_ends_the_same(
    trunk: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, told = compute(trunk, tmp_path / "whole"), []

    def stop() -> None:
        if len(told) == 3:  # of two batches a view: within the second view
            raise Interrupted("stopped")

    monkeypatch.setattr(progress, "stop_if_asked", stop)
    with pytest.raises(Interrupted):
        compute(trunk, tmp_path / "stopped", on_batch=lambda done, total: told.append((done, total)))
    assert told == [(32, 120), (40, 120), (72, 120)]
    assert sorted(path.name for path in (tmp_path / "stopped").iterdir()) == ["view0-0.npy", "view0-1.npy"]
    monkeypatch.undo()
    assert same(compute(trunk, tmp_path / "stopped"), whole)


def test_full_disk_leaves_no_half_view(
    trunk: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="no space left"):
        compute(trunk, tmp_path)
    assert not list(tmp_path.iterdir())


def test_rows_of_a_larger_array_give_the_same_as_a_copy(trunk: keras.Model, tmp_path: Path) -> None:
    index = np.arange(0, 40, 2)
    options = {"views": 2, "augmented": True, "seed": 1}
    picked = feature_cache.compute_views(trunk, Rows(IMAGES, index), tmp_path / "rows", **options)
    copied = feature_cache.compute_views(trunk, IMAGES[index], tmp_path / "copy", **options)
    assert same(picked, copied)


def test_key_is_that_of_the_weights_and_the_parts() -> None:
    keys = {
        feature_cache.cache_key(trunk_of(), "train"),
        feature_cache.cache_key(trunk_of(), "valid"),
        feature_cache.cache_key(trunk_of(seed=1), "train"),
        feature_cache.cache_key(trunk_of(), "train", True),
    }
    assert len(keys) == 4
    assert feature_cache.cache_key(trunk_of(), "train") in keys


@pytest.mark.parametrize(("gigabytes", "expected"), [(1.0, 8), (3e-6, 2), (1e-9, 1)])
def test_fewer_views_where_they_would_not_fit(gigabytes, expected):
    image = keras.Input((8, 8, 3))
    trunk = keras.Model(image, keras.layers.Conv2D(5, 1)(keras.layers.RandomFlip()(image)))
    views, size = feature_cache.affordable_views(trunk, 2, 8, gigabytes)
    assert views == expected
    assert size == pytest.approx(views * 2 * 8 * 8 * 5 * 2 / 1e9)  # half precision


def test_what_draws_nothing_has_one_view():
    image = keras.Input((8, 8, 3))
    trunk = keras.Model(image, keras.layers.Conv2D(5, 1)(image))
    assert feature_cache.affordable_views(trunk, 2, 8, 1.0) == (1, pytest.approx(2 * 8 * 8 * 5 * 2 / 1e9))
