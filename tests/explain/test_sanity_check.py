import numpy as np
import pytest

from tests.small_predictors import NAMES, networks, pixels
from tumorboard.explain import gradcam
from tumorboard.explain.sanity_check import correlation_after_shuffling, shuffled


@pytest.mark.parametrize("name", NAMES)
def test_maps_change_with_the_weights(name):
    model = networks()[name][0]
    assert correlation_after_shuffling(model, pixels(1)[0], 0) < 0.9


def test_shuffling_keeps_the_values_and_leaves_the_model_alone():
    model = networks()["custom"][0]
    before = model.get_weights()
    other = shuffled(model)
    kernels = [one for one in zip(before, other.get_weights(), strict=True) if one[0].ndim == 4]
    assert kernels
    for old, new in kernels:
        np.testing.assert_array_equal(np.sort(old.ravel()), np.sort(new.ravel()))
        assert not np.array_equal(old, new)
    for old, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)


def test_a_map_that_ignores_the_weights_is_found_out(monkeypatch):
    edges = pixels(1)[0].mean(-1).astype(np.float32)
    monkeypatch.setattr(gradcam, "heat_map", lambda *_: edges)
    assert correlation_after_shuffling(networks()["custom"][0], pixels(1)[0], 0) == pytest.approx(1)
