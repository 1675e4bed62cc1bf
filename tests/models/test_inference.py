import functools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.small_models import RESIDUAL, chained, joined, member, pixels
from tests.small_predictors import NAMES, networks
from tumorboard import progress
from tumorboard.data.image_cache import Rows
from tumorboard.errors import Interrupted
from tumorboard.models.inference import merge_networks, probabilities
from tumorboard.models.model_spec import embedding_model

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


def test_it_answers_as_each_model_bit_for_bit():
    models = {name: networks()[name][0] for name in NAMES}
    models["embedding"] = embedding_model(models["ensemble"])
    together = merge_networks(models)
    for image in pixels(3, seed=4):
        found = together.predict_on_batch(image[None])
        for name, model in models.items():
            np.testing.assert_array_equal(found[name], model.predict_on_batch(image[None]))


def test_what_a_combination_copied_is_computed_once():
    models = {name: networks()[name][0] for name in ("pretrained", "custom", "ensemble")}
    members = {name: models[name] for name in ("pretrained", "custom")}
    assert (
        len(merge_networks(models).layers) == len(merge_networks(members).layers) + 1
    )  # the mean of the two


def test_other_weights_or_settings_are_another_layer():
    one, other = member("a", seed=1)[0], member("b", seed=2)[0]
    assert merge_networks({"a": one, "b": other}).get_layer("b_probabilities") is not None
    image = keras.Input((4, 4, 1), name="x_image")
    halves = {str(by): keras.Model(image, keras.layers.Rescaling(by)(image)) for by in (0.5, 0.25)}
    found = merge_networks(halves).predict_on_batch(np.ones((1, 4, 4, 1)))
    assert {name: one.max() for name, one in found.items()} == {"0.5": 0.5, "0.25": 0.25}


def test_one_model_is_answered_by_its_name_too():
    model, image = networks()["custom"][0], pixels(1)
    found = merge_networks({"custom": model}).predict_on_batch(image)
    np.testing.assert_array_equal(found["custom"], model.predict_on_batch(image))


@pytest.mark.parametrize("form", ["mirrored", "vote"])
def test_two_views_of_one_network_stay_two(form):
    members = {name: networks()[name] for name in ("pretrained", "custom")}
    model, image = joined("board", list(members.values()), form)[0], pixels(1, seed=3)
    models = {name: one for name, (one, _) in members.items()} | {"board": model}
    found = merge_networks(models).predict_on_batch(image)
    np.testing.assert_array_equal(found["board"], model.predict_on_batch(image))
