import numpy as np
import pytest

from tests.small_models import CUT, NOTEBOOK, PRETRAINED, RESIDUAL, member
from tumorboard.config import Image, load
from tumorboard.models.architectures import build_network

SETTINGS = {"pretrained": PRETRAINED, "cut": CUT, "notebook": NOTEBOOK, "residual": RESIDUAL}


def head_weights(model):
    return [weight.numpy() for weight in model.trainable_weights if not weight.path.startswith("block")]


@pytest.mark.parametrize("name", SETTINGS)
def test_the_same_seed_gives_the_same_first_weights(name):
    one, same, other = (head_weights(member("m", SETTINGS[name], seed)[0]) for seed in (1, 1, 2))
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a, b)
    kernels = [(a, b) for a, b in zip(one, other, strict=True) if a.ndim > 1]
    assert kernels
    assert not any(np.array_equal(a, b) for a, b in kernels)


def test_the_default_recipe_builds_offline():
    for name, settings in load("default").models.items():
        model = build_network(name, settings, Image(size=64), 5, 0)
        assert model.name == name
        assert model.output_shape == (None, 5)
