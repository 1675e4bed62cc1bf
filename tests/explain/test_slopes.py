import keras
import numpy as np
import pytest

from tests.small_predictors import networks, pixels
from tumorboard.explain import gradcam
from tumorboard.explain.gradcam import by_differences, by_tape, log_odds, slopes


@pytest.mark.parametrize("name", ["custom", "ensemble", "chained"])
def test_differences_agree_with_the_gradient(name):
    trunk, head, _ = gradcam._cut(networks()[name][0])
    maps = gradcam._maps(trunk, pixels(1, seed=3)[0])
    for expected, found in zip(by_tape(head, maps, 1), by_differences(head, maps, 1), strict=True):
        assert expected.shape == found.shape
        assert np.corrcoef(found, expected)[0, 1] > 0.99  # a step may cross a bend of a ReLU


def test_other_backends_take_differences(monkeypatch):
    trunk, head, _ = gradcam._cut(networks()["chained"][0])
    maps = gradcam._maps(trunk, pixels(1)[0])
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    np.testing.assert_array_equal(slopes(head, maps, 0)[0], by_differences(head, maps, 0)[0])


@pytest.mark.parametrize("p", [0.5, 1e-20, 1.0])
def test_log_odds_are_finite_and_exact(p):
    row = np.array([[p, (1 - p) / 2, (1 - p) / 2]], np.float32)
    found = float(keras.ops.convert_to_numpy(log_odds(row, 0))[0])
    assert found == pytest.approx(np.log(p + 1e-30) - np.log(1 - p + 1e-30), abs=1e-4)
