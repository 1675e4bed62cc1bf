import numpy as np
import pytest

from tumorboard import config
from tumorboard.data.image_reader import to_input
from tumorboard.explain.overlay import colours, in_picture, overlay

GREY = np.full((4, 4, 3), 100, np.uint8)


def heat(value):
    found = np.zeros((4, 4), np.float32)
    found[1, 2] = value
    return found


def test_where_nothing_speaks_the_image_shows_as_it_is():
    painted = overlay(GREY, heat(1.0))
    assert painted.shape == (4, 4, 3)
    assert painted.dtype == np.uint8
    assert (painted != GREY).any(axis=-1).sum() == 1
    assert (painted[1, 2] != GREY[1, 2]).any()


@pytest.mark.parametrize(("alpha", "expected"), [(0.0, GREY), (1.0, colours(heat(1.0)))])
def test_opacity_goes_from_image_to_colour(alpha, expected):
    np.testing.assert_array_equal(overlay(GREY, heat(1.0), alpha)[1, 2], expected[1, 2])


def test_hotter_is_brighter():
    ramp = colours(np.linspace(0, 1, 5, dtype=np.float32)[None])[0].astype(int).sum(-1)
    assert (np.diff(ramp) > 0).all()


@pytest.mark.parametrize("resize", ["stretch", "pad"])
@pytest.mark.parametrize("shape", [(60, 120), (120, 60), (80, 80)])
def test_a_map_comes_to_lie_where_the_picture_has_what_the_network_saw(resize, shape) -> None:
    settings = config.Image(size=96, resize=resize)
    picture = np.zeros((*shape, 3), np.uint8)
    top, left = shape[0] // 2, shape[1] // 5
    picture[top : top + 12, left : left + 12] = 255
    seen = to_input(picture, settings)[..., 0] / np.float32(255)
    back = in_picture(seen, shape, settings)
    assert back.shape == shape
    marked = np.argwhere(back > 0.5)
    np.testing.assert_allclose(marked.min(axis=0), (top, left), atol=1)
    np.testing.assert_allclose(marked.max(axis=0), (top + 11, left + 11), atol=1)
