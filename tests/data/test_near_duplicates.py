import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from tumorboard.data import near_duplicates
from tumorboard.data.image_cache import pixel_digest
from tumorboard.data.near_duplicates import close_pairs, slices
from tumorboard.data.pixels import Pixels
from tumorboard.data.synthetic import CLASSES, draw_slice

N = 40


def _slices(n: int) -> list[Pixels]:
    drawn = [draw_slice(np.random.default_rng([7, i]), CLASSES[i % 4]) for i in range(n)]
    return [np.repeat((one >> 8).astype(np.uint8)[..., np.newaxis], 3, axis=2) for one in drawn]


SLICES = _slices(N)


def _search(images: list[Pixels]) -> near_duplicates.Duplicates:
    return near_duplicates.find_duplicates(
        [pixel_digest(image) for image in images],
        np.array([near_duplicates.thumbnail(image) for image in images]),
    )


def _jpeg(image: Pixels) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=40)
    return np.asarray(Image.open(file))


def _resized(image: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(image).resize((image.shape[1] // 2, image.shape[0] // 2)))


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "JPEG": _jpeg,
    "half the size": _resized,
    "10 % darker": lambda image: (image * 0.9).astype(np.uint8),
    "10 % brighter": lambda image: np.clip(image * 1.1, 0, 255).astype(np.uint8),
    "mirrored": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
    "turned by 90 degrees": lambda image: np.rot90(image),
    "turned by 180 degrees": lambda image: np.rot90(image, 2),
    "turned by 270 degrees": lambda image: np.rot90(image, 3),
    "transposed": lambda image: image.swapaxes(0, 1),
    "mirrored, darker, JPEG": lambda image: _jpeg(
        (np.ascontiguousarray(image[:, ::-1]) * 0.9).astype(np.uint8)
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changed_copies_are_found(change: Callable[[Pixels], Pixels]) -> None:
    changed = [np.ascontiguousarray(change(image)) for image in SLICES]
    found = _search(SLICES + changed)
    assert np.array_equal(found.component[:N], found.component[N:])


def test_copies_are_identical_not_near_duplicates() -> None:
    found = _search(SLICES + SLICES)
    assert np.array_equal(found.identical[:N], found.identical[N:])
    assert found.near == ()


def test_different_slices_are_no_duplicates() -> None:
    found = _search(SLICES)
    assert len(set(found.component.tolist())) == N
    assert found.near == ()


def test_a_pair_says_how_alike_it_is_and_whether_it_is_flipped_or_rotated() -> None:
    found = _search(
        [SLICES[0], (SLICES[0] * 0.9).astype(np.uint8), np.ascontiguousarray(SLICES[1][::-1]), SLICES[1]]
    )
    assert [(one.first, one.second, one.flipped_or_rotated) for one in found.near] == [
        (0, 1, False),
        (2, 3, True),
    ]
    assert all(near_duplicates.SIMILAR <= one.similarity <= 1 for one in found.near)


def test_components_join_over_any_number_of_steps() -> None:
    """An exact copy of a near duplicate is in the component of the original."""
    darker = (SLICES[0] * 0.9).astype(np.uint8)
    found = _search([SLICES[0], SLICES[1], darker, darker])
    assert found.component[0] == found.component[2] == found.component[3] != found.component[1]
    assert found.identical.tolist() == [0, 1, 2, 2]


def test_the_frames_of_a_film_are_one_component_by_few_pairs() -> None:
    rng = np.random.default_rng(0)
    noise = [rng.normal(0, 2, SLICES[0].shape) for _ in range(99)]
    frames = [np.clip(SLICES[0] + one, 0, 255).astype(np.uint8) for one in noise]
    found = _search([*SLICES, *frames])
    assert len(set(found.component.tolist())) == N
    assert len(found.near) == 99


def test_the_order_of_the_images_does_not_matter() -> None:
    images = SLICES + [np.ascontiguousarray(image[:, ::-1]) for image in SLICES[:10]]
    order = np.random.default_rng(0).permutation(len(images))
    straight, shuffled = _search(images).component, _search([images[i] for i in order]).component
    same = straight[order][:, np.newaxis] == straight[order]
    assert np.array_equal(same, shuffled[:, np.newaxis] == shuffled)


def test_flat_pictures_are_compared_by_their_pixels_only() -> None:
    found = _search([np.full((30, 30, 3), grey, np.uint8) for grey in (0, 0, 9)])
    assert found.component.tolist() == [0, 0, 1]


@pytest.mark.parametrize("n", [0, 1])
def test_few_images_are_no_trouble(n: int) -> None:
    small = np.array([near_duplicates.thumbnail(image) for image in SLICES[:n]], np.uint8).reshape(n, 64, 64)
    found = near_duplicates.find_duplicates([str(i) for i in range(n)], small)
    assert (len(found.identical), len(found.component), found.near) == (n, n, ())


def test_a_thumbnail_is_grey_and_of_one_size() -> None:
    assert near_duplicates.thumbnail(SLICES[0]).shape == (64, 64)
    red = np.zeros((5, 300, 3), np.uint8)
    red[..., 0] = 255
    assert set(near_duplicates.thumbnail(red).ravel().tolist()) == {76}  # ITU-R 601: 0.299 of red


def _points(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.5, (n, 12)).astype(np.float32)


def _by_comparing_all(points: np.ndarray, near: float) -> set[tuple[int, int]]:
    gaps = np.linalg.norm(points[:, np.newaxis] - points, axis=2)
    return {(int(i), int(j)) for i, j in np.argwhere(gaps <= near) if i < j}


@pytest.mark.parametrize("seed", range(3))
def test_pairs_at_half_the_distance_are_all_found_and_none_too_far(seed: int) -> None:
    points = _points(600, seed)
    moved = np.random.default_rng(seed).normal(size=(200, 12))
    points[400:] = points[:200] + 0.1 * moved / np.linalg.norm(moved, axis=1, keepdims=True)
    pairs = set(map(tuple, close_pairs(points, 0.2).tolist()))
    assert pairs >= {(i, i + 400) for i in range(200)}
    assert pairs <= _by_comparing_all(points, 0.2)


def test_pairs_come_once_and_the_closest_first() -> None:
    points = np.concatenate([_points(50), _points(50) + 0.01])
    pairs = close_pairs(points, 0.1)
    gaps = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    assert (np.diff(gaps) >= 0).all()
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert len(np.unique(pairs, axis=0)) == len(pairs)


def test_the_same_points_give_the_same_pairs() -> None:
    points = _points(300)
    assert np.array_equal(close_pairs(points, 1.5), close_pairs(points, 1.5))


def test_a_crowd_in_one_place_costs_no_square() -> None:
    """4,000 equal points are 8 million pairs; what is compared stays linear, and chains still join all."""
    pairs = close_pairs(np.zeros((4_000, 12), np.float32), 0.1)
    assert 3_999 <= len(pairs) <= 4_000 * 32 * 24


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_points_have_no_pairs(n: int) -> None:
    assert close_pairs(_points(n), 0.1).shape == (0, 2)


def test_slices_cover_everything_once() -> None:
    assert [list(range(10))[part] for part in slices(10, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert list(slices(0, 4)) == []
