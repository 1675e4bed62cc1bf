import numpy as np
import pytest

from tumorboard import config
from tumorboard.data.image_reader import to_input


def test_stretch_fills_the_square():
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, 10:] = 200
    found = to_input(image, config.Image(size=32, interpolation="box"))
    assert found.shape == (32, 32, 3)
    assert found.dtype == np.uint8
    assert (found[:, :16] == 0).all()
    assert (found[:, 16:] == 200).all()


def test_pad_keeps_the_shape_and_centres_on_black():
    found = to_input(np.full((10, 20, 3), 200, np.uint8), config.Image(size=40, resize="pad"))
    assert (found[10:30] == 200).all()
    assert (found[:10] == 0).all()
    assert (found[30:] == 0).all()


def test_pad_of_a_line_keeps_a_pixel():
    found = to_input(np.full((1, 900, 3), 200, np.uint8), config.Image(size=32, resize="pad"))
    assert (found == 200).all(axis=(1, 2)).sum() == 1


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos", "box"])
def test_shrinking_is_antialiased(interpolation):
    board = np.zeros((256, 256, 3), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 255
    found = to_input(board, config.Image(size=32, interpolation=interpolation))
    assert np.abs(found[4:-4, 4:-4].astype(int) - 127).max() <= 3


def test_an_image_of_the_right_size_is_not_touched():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    np.testing.assert_array_equal(to_input(image, config.Image(size=32)), image)
