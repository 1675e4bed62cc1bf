import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from tumorboard.data import near_duplicates
from tumorboard.data.image_cache import pixel_digest
from tumorboard.data.pixels import Pixels
from tumorboard.data.synthetic import CLASSES, draw_slice

N = 40


def _slices(n: int) -> list[Pixels]:
    drawn = [draw_slice(np.random.default_rng([7, i]), CLASSES[i % 4]) for i in range(n)]
    return [np.repeat((one >> 8).astype(np.uint8)[..., np.newaxis], 3, axis=2) for one in drawn]


SLICES = _slices(N)


def _search(images: list[Pixels]) -> near_duplicates.Twins:
    return near_duplicates.search(
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
    assert np.array_equal(found.unit[:N], found.unit[N:])


def test_copies_are_exact_twins_not_near_ones() -> None:
    found = _search(SLICES + SLICES)
    assert np.array_equal(found.picture[:N], found.picture[N:])
    assert found.near == ()


def test_different_slices_are_no_twins() -> None:
    found = _search(SLICES)
    assert len(set(found.unit.tolist())) == N
    assert found.near == ()


def test_a_pair_says_how_alike_it_is_and_whether_it_is_turned() -> None:
    found = _search(
        [SLICES[0], (SLICES[0] * 0.9).astype(np.uint8), np.ascontiguousarray(SLICES[1][::-1]), SLICES[1]]
    )
    assert [(one.first, one.second, one.turned) for one in found.near] == [(0, 1, False), (2, 3, True)]
    assert all(near_duplicates.SIMILAR <= one.similarity <= 1 for one in found.near)


def test_units_join_over_any_number_of_steps() -> None:
    """An exact copy of a near twin is the same unit as the original."""
    darker = (SLICES[0] * 0.9).astype(np.uint8)
    found = _search([SLICES[0], SLICES[1], darker, darker])
    assert found.unit[0] == found.unit[2] == found.unit[3] != found.unit[1]
    assert found.picture.tolist() == [0, 1, 2, 2]


def test_the_frames_of_a_film_are_one_unit_by_few_pairs() -> None:
    rng = np.random.default_rng(0)
    noise = [rng.normal(0, 2, SLICES[0].shape) for _ in range(99)]
    frames = [np.clip(SLICES[0] + one, 0, 255).astype(np.uint8) for one in noise]
    found = _search([*SLICES, *frames])
    assert len(set(found.unit.tolist())) == N
    assert len(found.near) == 99


def test_the_order_of_the_images_does_not_matter() -> None:
    images = SLICES + [np.ascontiguousarray(image[:, ::-1]) for image in SLICES[:10]]
    order = np.random.default_rng(0).permutation(len(images))
    straight, shuffled = _search(images).unit, _search([images[i] for i in order]).unit
    same = straight[order][:, np.newaxis] == straight[order]
    assert np.array_equal(same, shuffled[:, np.newaxis] == shuffled)


def test_flat_pictures_are_compared_by_their_pixels_only() -> None:
    found = _search([np.full((30, 30, 3), grey, np.uint8) for grey in (0, 0, 9)])
    assert found.unit.tolist() == [0, 0, 1]


@pytest.mark.parametrize("n", [0, 1])
def test_few_images_are_no_trouble(n: int) -> None:
    small = np.array([near_duplicates.thumbnail(image) for image in SLICES[:n]], np.uint8).reshape(n, 64, 64)
    found = near_duplicates.search([str(i) for i in range(n)], small)
    assert (len(found.picture), len(found.unit), found.near) == (n, n, ())


def test_a_thumbnail_is_grey_and_of_one_size() -> None:
    assert near_duplicates.thumbnail(SLICES[0]).shape == (64, 64)
    red = np.zeros((5, 300, 3), np.uint8)
    red[..., 0] = 255
    assert set(near_duplicates.thumbnail(red).ravel().tolist()) == {76}  # ITU-R 601: 0.299 of red
