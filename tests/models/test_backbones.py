import importlib
import socket

import keras
import numpy as np
import pytest

from tumorboard.errors import ModelError, RecipeError
from tumorboard.models.backbones import BACKBONES, build_backbone, preprocess, split_backbone, stages_of

from .test_pretrained_weights import assert_same_weights, write_older_layout


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network, and an empty Keras cache: its `models` folder is returned."""

    def unreachable(*args, **kwargs):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setattr(keras.src.backend.config, "_KERAS_DIR", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def preprocessing(name, mode="own"):
    inputs = keras.Input((6, 5, 3), name="p_image")
    return keras.Model(inputs, preprocess(inputs, name, mode, "p"), name="p")


def official(name, pixels):
    if name == "efficientnet-lite0":
        return (pixels - 127) / 128
    family = getattr(keras.applications, BACKBONES[name].builder).__module__.rpartition(".")[2]
    return importlib.import_module(f"keras.applications.{family}").preprocess_input(pixels.copy())


def one_line(error):
    message = str(error.value)
    assert len(message) <= 300
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", BACKBONES)
def test_own_preprocessing_equals_keras(name):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 6, 5, 3)).astype("float32")
    found = np.asarray(preprocessing(name)(pixels))
    np.testing.assert_allclose(found, official(name, pixels), rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "efficientnet-lite0"])
def test_preprocessing_survives_a_safe_reload(name, tmp_path):
    model = preprocessing(name)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras", safe_mode=True)
    pixels = np.random.default_rng(1).uniform(0, 255, (1, 6, 5, 3)).astype("float32")
    np.testing.assert_array_equal(again(pixels), model(pixels))
    assert not again.trainable_weights
    assert all(layer.name.startswith("p_") for layer in again.layers)


def test_unit_divides_by_255_whatever_the_backbone_wants():
    pixels = np.full((1, 6, 5, 3), 51, "float32")
    np.testing.assert_allclose(preprocessing("resnet50", "unit")(pixels), 0.2, rtol=1e-6)


def test_unit_is_refused_where_the_network_scales_itself():
    with pytest.raises(RecipeError, match="efficientnet-b0 scales its input itself"):
        preprocessing("efficientnet-b0", "unit")


def test_unknown_backbone_names_some_known_ones():
    with pytest.raises(RecipeError, match="efficientnet-lite0, resnet50") as error:
        build_backbone("resnet5000", "none", (224, 224, 3), "p")
    assert f"and {len(BACKBONES) - 5} more" in one_line(error)


def test_an_image_too_small_is_not_blamed_on_the_weights(offline):
    with pytest.raises(RecipeError, match="does not take images") as error:
        build_backbone("resnet50", "imagenet", (16, 16, 3), "p")
    one_line(error)


def test_offline_says_which_file_from_where_to_where(offline):
    with pytest.raises(ModelError) as error:
        build_backbone("resnet50", "imagenet", (32, 32, 3), "p")
    message = one_line(error)
    assert "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5" in message
    assert "https://" in message
    assert str(offline)[-50:] in message
    assert f"folder: {offline}" in error.value.details
    assert "efficientnet-lite0" in message
    assert socket.getdefaulttimeout() is None


def test_a_network_that_never_answers_is_not_waited_for(offline, monkeypatch):
    """The limit is set while Keras asks; here, the socket that would have hung reports it."""
    limits = []

    def hang(*args, **kwargs):
        limits.append(socket.getdefaulttimeout())
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with pytest.raises(ModelError, match="or online") as error:
        build_backbone("mobilenet-v2", "imagenet", (96, 96, 3), "p")
    one_line(error)
    assert "timed out" in error.value.details[1]
    assert limits
    assert None not in limits


def test_a_file_of_the_wrong_hash_in_the_cache_is_not_used(offline):
    (offline / "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5").write_bytes(b"other")
    with pytest.raises(ModelError) as error:
        build_backbone("resnet50", "imagenet", (32, 32, 3), "p")
    one_line(error)


def test_a_file_in_the_cache_is_used_without_network(offline):
    """MobileNetV2's, as Keras keeps no hash of it; random weights in the official layout."""
    source = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(96, 96, 3))
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_96_no_top.h5"
    write_older_layout(source, offline / name)
    assert_same_weights(build_backbone("mobilenet-v2", "imagenet", (96, 96, 3), "p"), source)


def test_embedded_weights_need_no_network(offline):
    one = build_backbone("efficientnet-lite0", "imagenet", (32, 32, 3), "one")
    other = build_backbone("efficientnet-lite0", "imagenet", (64, 64, 3), "other")
    assert one.name == "one_backbone"
    assert_same_weights(one, other)
    random = build_backbone("efficientnet-lite0", "none", (32, 32, 3), "one")
    assert not np.array_equal(random.get_weights()[0], one.get_weights()[0])


def test_resnet50_from_a_stand_in_of_the_official_file(tmp_path):
    """Seeded random weights in the layout of Keras's `*_notop.h5`; the real file was never at hand."""
    keras.utils.set_random_seed(3)
    source = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(32, 32, 3))
    path = tmp_path / "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    write_older_layout(source, path)
    backbone = build_backbone("resnet50", str(path), (32, 32, 3), "p")
    assert backbone.count_params() == 23_587_712
    assert_same_weights(backbone, source)
    pixels = np.random.default_rng(0).uniform(-100, 100, (1, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(backbone(pixels), source(pixels), rtol=1e-5, atol=1e-5)
    with pytest.raises(
        ModelError, match=r"\(3, 3, 3, 32\).* for layer Conv1, found .*\(7, 7, 3, 64\)"
    ) as error:
        build_backbone("mobilenet-v2", str(path), (32, 32, 3), "p")
    one_line(error)


def test_weights_file_where_keras_would_guess_the_scaling(tmp_path):
    with pytest.raises(ModelError, match="takes no weights file") as error:
        build_backbone("efficientnet-b0", str(tmp_path / "w.weights.h5"), (32, 32, 3), "p")
    one_line(error)


def test_cut_behind_block3_as_the_cached_maps_are():
    backbone = build_backbone("efficientnet-lite0", "none", (224, 224, 3), "p")
    trunk, tail = split_backbone("efficientnet-lite0", backbone, "block3")
    assert (trunk.name, tail.name) == ("p_trunk", "p_tail")
    assert trunk.output_shape == (None, 28, 28, 40)
    assert tail.output_shape == (None, 7, 7, 1280)
    assert not trunk.trainable_weights
    assert len(trunk.weights) + len(tail.weights) == len(backbone.weights)


def test_top_freezes_everything():
    backbone = build_backbone("efficientnet-lite0", "none", (32, 32, 3), "p")
    trunk, tail = split_backbone("efficientnet-lite0", backbone, "top")
    assert trunk is backbone
    assert tail is None
    assert not trunk.trainable_weights


@pytest.mark.parametrize("stage", ["block4", "top"])
def test_parts_survive_nesting_and_a_safe_reload(stage, tmp_path):
    """And the trunk's batch norms stay as they are when the outer model trains."""
    backbone = build_backbone("efficientnet-lite0", "imagenet", (32, 32, 3), "p")
    pixels = np.random.default_rng(0).uniform(-1, 1, (4, 32, 32, 3)).astype("float32")
    whole = np.asarray(backbone(pixels, training=False))
    trunk, tail = split_backbone("efficientnet-lite0", backbone, stage)
    inputs = keras.Input((32, 32, 3))
    x = trunk(inputs, training=False)
    model = keras.Model(inputs, tail(x) if tail else x)
    np.testing.assert_allclose(model(pixels, training=False), whole, atol=1e-5)
    before = trunk.get_weights()
    model(pixels, training=True)
    for kept, value in zip(before, trunk.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, value)
    expected = np.asarray(model(pixels, training=False))
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras", safe_mode=True)
    np.testing.assert_array_equal(again(pixels, training=False), expected)
    assert len(again.trainable_weights) == len(model.trainable_weights)


def test_unknown_stage_lists_the_known_ones():
    backbone = build_backbone("efficientnet-lite0", "none", (32, 32, 3), "p")
    with pytest.raises(RecipeError, match="block1, block2") as error:
        split_backbone("efficientnet-lite0", backbone, "conv2")
    assert "top" in one_line(error)


SMALL = [
    "resnet50-v2",
    "densenet121",
    "efficientnet-v2-b0",
    "mobilenet",
    "mobilenet-v3-small",
    "inception-v3",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_every_stage_is_a_place_to_cut(name):
    backbone = build_backbone(name, "none", (96, 96, 3), "p")
    for stage in stages_of(name)[:-1]:
        trunk, tail = split_backbone(name, backbone, stage)
        assert len(trunk.weights) + len(tail.weights) == len(backbone.weights)
        assert tail.input_shape == trunk.output_shape


def test_stages_of_mobilenet_v2_are_places_to_cut():
    backbone = build_backbone("mobilenet-v2", "none", (32, 32, 3), "p")
    heights = [
        split_backbone("mobilenet-v2", backbone, stage)[0].output_shape[1]
        for stage in stages_of("mobilenet-v2")[:-1]
    ]
    assert heights == sorted(heights, reverse=True)
    assert (heights[0], heights[-1]) == (8, 1)
