import keras
import numpy as np
import pytest
from keras import layers

from tests.small_models import NOTEBOOK, joined, member
from tests.small_predictors import CLASSES, IMAGE, NAMES, networks, pixels
from tumorboard.errors import ModelError
from tumorboard.explain import gradcam, occlusion
from tumorboard.explain.gradcam import (
    channel_gradients,
    correlation_after_shuffling,
    gradients_by_differences,
    gradients_by_tape,
    log_odds,
    shuffled,
)
from tumorboard.models.model_spec import ModelSpec


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", ["custom", "ensemble", "chained"])
def test_differences_agree_with_the_gradient(name):
    split = gradcam.split_at_maps(networks()[name][0])
    maps = split.feature_maps(pixels(1, seed=3)[0])
    for expected, found in zip(
        gradients_by_tape(split.head, maps, 1), gradients_by_differences(split.head, maps, 1), strict=True
    ):
        assert expected.shape == found.shape
        assert np.corrcoef(found, expected)[0, 1] > 0.99  # a step may cross a bend of a ReLU


@pytest.mark.tensorflow
def test_other_backends_take_differences(monkeypatch):
    split = gradcam.split_at_maps(networks()["chained"][0])
    maps = split.feature_maps(pixels(1)[0])
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    np.testing.assert_array_equal(
        channel_gradients(split.head, maps, 0)[0], gradients_by_differences(split.head, maps, 0)[0]
    )


@pytest.mark.parametrize("p", [0.5, 1e-20, 1.0])
def test_log_odds_are_finite_and_exact(p):
    row = np.array([[p, (1 - p) / 2, (1 - p) / 2]], np.float32)
    found = float(keras.ops.convert_to_numpy(log_odds(row, 0))[0])
    assert found == pytest.approx(np.log(p + 1e-30) - np.log(1 - p + 1e-30), abs=1e-4)


PICTURE = pixels(1, seed=3)[0]


def spot_finder():
    """Class 1 for a bright image, and it looks at nothing but brightness: one channel, one weight."""
    image = keras.Input((32, 32, 3), name="m_image")
    x = layers.Rescaling(1 / 255, name="m_rescale")(image)
    x = layers.AveragePooling2D(4, name="m_pool")(x)
    x = layers.Conv2D(1, 1, kernel_initializer="ones", bias_initializer="zeros", name="m_conv")(x)
    x = layers.Identity(name="m_feature_map")(x)
    x = layers.GlobalAveragePooling2D(name="m_average")(x)
    x = layers.Dense(3, activation="softmax", name="m_probabilities")(x)
    model = keras.Model(image, x, name="m")
    model.get_layer("m_probabilities").set_weights([np.array([[-9.0, 9.0, 0.0]]), np.zeros(3)])
    return model, ModelSpec("m", "custom", CLASSES, IMAGE)


def spotted():
    """Black, but for a white square in rows 20 to 27 and columns 4 to 11."""
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[20:28, 4:12] = 255
    return picture


@pytest.mark.parametrize("method", [gradcam.heat_map, occlusion.heat_map], ids=["gradcam", "occlusion"])
def test_both_methods_find_what_the_network_looks_at(method):
    heat = method(spot_finder()[0], spotted(), 1)
    assert heat.shape == (32, 32)
    assert heat.dtype == np.float32
    assert heat.max() == 1
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    assert 20 <= y < 28
    assert 4 <= x < 12
    assert heat[20:28, 4:12].mean() > 5 * heat[:12, 20:].mean()
    assert heat[:12, 20:].max() < 0.01


def test_the_map_of_the_mirror_image_is_turned_back():
    finder = spot_finder()
    both = joined("both", [finder], "mirrored")[0]
    alone = gradcam.heat_map(finder[0], spotted(), 1)
    np.testing.assert_allclose(gradcam.heat_map(both, spotted(), 1), alone, rtol=0, atol=1e-5)
    maps = gradcam.member_heat_maps(both, spotted(), 1)
    assert sorted(maps) == ["both_m"]
    np.testing.assert_allclose(maps["both_m"], alone, rtol=0, atol=1e-5)


def test_what_speaks_against_a_class_is_not_shown():
    assert not gradcam.heat_map(spot_finder()[0], spotted(), 0).any()


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", NAMES)
def test_every_model_has_a_map_that_depends_on_image_and_class(name):
    model = networks()[name][0]
    heat = gradcam.heat_map(model, PICTURE, 0)
    assert heat.shape == (32, 32)
    assert heat.min() >= 0
    assert heat.max() == 1
    np.testing.assert_array_equal(heat, gradcam.heat_map(model, PICTURE, 0))
    assert not np.array_equal(heat, gradcam.heat_map(model, pixels(1, seed=4)[0], 0))
    assert not np.array_equal(heat, gradcam.heat_map(model, PICTURE, 1))


def test_by_default_the_answer_is_explained():
    model = networks()["custom"][0]
    answer = int(model.predict_on_batch(PICTURE[None])[0].argmax())
    expected = gradcam.heat_map(model, PICTURE, answer)
    np.testing.assert_array_equal(gradcam.heat_map(model, PICTURE), expected)


def test_a_member_without_a_say_adds_nothing():
    members = [networks()["pretrained"], networks()["custom"]]
    model = joined("ensemble", members, "weighted", weights=(0.0, 1.0))[0]
    alone = gradcam.heat_map(members[1][0], PICTURE, 2)
    np.testing.assert_allclose(gradcam.heat_map(model, PICTURE, 2), alone, atol=1e-5)


@pytest.mark.parametrize("form", ["mean", "vote"])
def test_members_of_an_ensemble_look_where_they_looked_alone(form):
    members = [networks()["chained"], member("custom", NOTEBOOK, seed=5)]
    model = joined("ensemble", members, form)[0]
    found = gradcam.member_heat_maps(model, PICTURE, 1)
    assert list(found) == ["ensemble_chained", "ensemble_custom"]
    for heat, one in zip(found.values(), members, strict=True):
        np.testing.assert_allclose(heat, gradcam.heat_map(one[0], PICTURE, 1), atol=1e-5)
    assert gradcam.heat_map(model, PICTURE, 1).any() == (form != "vote")


def test_a_single_model_is_its_own_member():
    model = networks()["chained"][0]
    found = gradcam.member_heat_maps(model, PICTURE, 1)
    assert list(found) == ["chained"]
    np.testing.assert_array_equal(found["chained"], gradcam.heat_map(model, PICTURE, 1))


def test_a_model_without_a_feature_map_is_refused():
    image = keras.Input((32, 32, 3), name="m_image")
    x = layers.Dense(3, name="m_probabilities")(layers.Flatten(name="m_flatten")(image))
    with pytest.raises(ModelError, match="m_feature_map"):
        gradcam.heat_map(keras.Model(image, x, name="m"), PICTURE)


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
