"""The port against PyTorch's own answers, as tools/convert_efficientnet_lite0.py wrote them."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from tumorboard.models import efficientnet_lite
from tumorboard.models.pretrained_weights import load_embedded

GOLDEN = json.loads((Path(__file__).parent / "efficientnet_lite0_golden.json").read_text())


@pytest.fixture(scope="module")
def network():
    model = efficientnet_lite.build(prefix="mine")
    load_embedded(model, "efficientnet_lite0")
    return model


def waves(seed):
    """The same picture as in the tool."""
    phase = np.arange(3) + seed
    y, x = np.mgrid[0:224, 0:224]
    drawn = np.sin(x[..., None] / (9 + 5 * phase)) * np.cos(y[..., None] / (13 + 3 * phase))
    return np.round(127.5 + 127.5 * drawn).astype("uint8")


@pytest.mark.parametrize("seed", [0, 1])
def test_pooled_features_are_those_of_pytorch(network, seed):
    scaled = (waves(seed).astype("float32") - 127) / 128
    features = keras.ops.convert_to_numpy(network(scaled[None])).mean((1, 2))[0]
    np.testing.assert_allclose(features, GOLDEN[str(seed)], atol=1e-4)


def test_the_two_golden_pictures_differ_by_far_more_than_the_tolerance():
    assert np.abs(np.subtract(GOLDEN["0"], GOLDEN["1"])).max() > 1


def test_all_layers_bear_the_prefix(network):
    assert network.name == "mine"
    assert all(layer.name.startswith("mine_") for layer in network.layers)


def test_size_as_published_without_the_classifier(network):
    """4,652,008 parameters and 42,016 statistics less 1,281,000 of the classifier."""
    assert network.count_params() == 3_413_024
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) == 3_371_008


def test_another_input_size():
    assert efficientnet_lite.build((96, 64, 3), "small").output_shape == (None, 3, 2, 1280)
