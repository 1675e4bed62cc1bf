import numpy as np
import pytest

from tumorboard.explain.overlay import colours, overlay

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
