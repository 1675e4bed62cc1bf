import keras
import numpy as np
import pytest

from tests.small_models import joined, member
from tests.small_predictors import NAMES, networks, pixels
from tumorboard.models.model_spec import embedding_model
from tumorboard.models.shared_graph import merge_networks


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
