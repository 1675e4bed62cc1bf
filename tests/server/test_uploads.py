import numpy as np
import pytest

from tumorboard.config import Image
from tumorboard.data.image_reader import read_input
from tumorboard.errors import DataError
from tumorboard.server.uploads import decode, decoding_pool, with_window

RULE = Image(size=32, resize="pad", interpolation="bicubic")


@pytest.fixture
def pool():
    made = decoding_pool()
    yield made
    made.close()


def test_the_pixels_are_those_of_the_one_reader(pool, slice_png):
    upload = decode(pool, slice_png, RULE)
    np.testing.assert_array_equal(upload.pixels, read_input(slice_png, RULE))
    assert (upload.windowed, upload.notes) == (False, ())


def test_a_window_may_be_another_than_in_training_and_takes_the_place_of_a_depth():
    trained = Image(window="40,400", depth=12)
    assert with_window(trained, "as-trained") == trained
    assert with_window(trained, "file") == Image(depth=12)
    assert with_window(trained, "lung") == Image(window="lung", depth=12)
    assert with_window(trained, "32168,1500") == Image(window="32168,1500")


def test_one_process_serves_one_upload_after_the_other_also_after_a_bad_one(pool, slice_png):
    decode(pool, slice_png, RULE)
    first = pool.pids
    with pytest.raises(DataError, match=r"^expected an image"):
        decode(pool, slice_png[:100], RULE)
    decode(pool, slice_png, RULE)
    assert pool.pids == first
