import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.small_models import RESIDUAL, chained, joined, member, pixels
from tumorboard import progress
from tumorboard.data.image_cache import Rows
from tumorboard.errors import Interrupted
from tumorboard.models.inference import probabilities

IMAGES = pixels(12, seed=7)


@functools.cache
def model():
    """Every kind of layer there is: a residual network and a chain on a backbone, in an ensemble."""
    members = [member("custom", RESIDUAL), chained("chained", [member("pretrained")])]
    return joined("ensemble", members, "concat_dense")[0]


@functools.cache
def alone():
    """The answer to each image when it is the only one."""
    return np.concatenate([probabilities(model(), IMAGES[i : i + 1]) for i in range(len(IMAGES))])


@settings(max_examples=25)
@given(st.lists(st.integers(0, len(IMAGES) - 1), min_size=1, max_size=len(IMAGES)))
def test_no_order_and_no_company_changes_a_bit(chosen):
    np.testing.assert_array_equal(probabilities(model(), IMAGES[chosen]), alone()[chosen])


def test_keras_predict_agrees():
    found = model().predict(IMAGES, verbose=0)
    np.testing.assert_allclose(found, alone(), rtol=0, atol=1e-6)


def test_rows_on_disk_give_what_arrays_give():
    picked = np.array([3, 1, 4])
    np.testing.assert_array_equal(probabilities(model(), Rows(IMAGES, picked)), alone()[picked])


def test_no_images_give_no_rows():
    assert probabilities(model(), IMAGES[:0]).shape == (0, 3)


def test_answers_are_float64_and_progress_is_told():
    told = []
    found = probabilities(model(), IMAGES[:2], lambda done, total: told.append((done, total)))
    assert found.dtype == np.float64
    assert told == [(1, 2), (2, 2)]


def test_a_signal_stops_between_two_images(monkeypatch):
    def ask(done, total):
        monkeypatch.setattr(progress, "_asked", [2])

    with pytest.raises(Interrupted):
        probabilities(model(), IMAGES[:3], ask)
