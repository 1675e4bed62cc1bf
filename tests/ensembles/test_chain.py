import keras
import numpy as np
import pytest

from tests.small_models import CHAINED, CUT, NOTEBOOK, RESIDUAL, joined, member, pixels
from tumorboard.ensembles import chain
from tumorboard.errors import ModelError
from tumorboard.models.model_spec import tap


def fitted(model):
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(pixels(4), np.array([0, 1, 2, 0]), verbose=0)


def embedding(model):
    return keras.Model(model.input, tap(model, "embedding"))


def test_a_chain_starts_from_the_first_links_embedding():
    first = member("first")
    model = chain.build("chained", [first], CHAINED)
    of_link = keras.Model(model.input, model.get_layer("chained_first_embedding").output)
    np.testing.assert_array_equal(
        of_link.predict_on_batch(pixels(3)), embedding(first[0]).predict_on_batch(pixels(3))
    )
    assert "chained_first_probabilities" not in {layer.name for layer in model.layers}


def test_several_links_are_concatenated_in_their_order():
    links = [member("first"), member("second", NOTEBOOK)]
    model = chain.build("chained", links, CHAINED)
    both = keras.Model(model.input, model.get_layer("chained_concatenate").output)
    expected = [embedding(link).predict_on_batch(pixels(2)) for link, _ in links]
    np.testing.assert_array_equal(both.predict_on_batch(pixels(2)), np.concatenate(expected, axis=1))
    assert both.output_shape == (None, 8 + 128)


@pytest.mark.parametrize("settings", [CUT, NOTEBOOK, RESIDUAL])
def test_a_chain_is_trained_end_to_end_but_the_first_link_is_left_alone(settings):
    first, spec = member("first", settings)
    before = first.get_weights()
    model = chain.build("chained", [(first, spec)], CHAINED)
    copied = [w for w in model.trainable_weights if not w.path.startswith(("chained_dense", "chained_prob"))]
    own = [w for w in first.trainable_weights if not w.path.startswith("first_prob")]
    assert len(copied) == len(own) > 0
    values = [np.asarray(weight) for weight in copied]
    fitted(model)
    assert all(
        not np.array_equal(now, then) for now, then in zip(copied, values, strict=True) if then.ndim > 1
    )
    for now, then in zip(first.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_what_was_frozen_in_the_first_link_stays_frozen():
    model = chain.build("chained", [member("first")], CHAINED)
    backbone = model.get_layer("chained_first_backbone")
    before = backbone.get_weights()
    fitted(model)
    for now, then in zip(backbone.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("settings", [CUT, RESIDUAL])
def test_kept_links_stay_as_they_are(settings):
    model = chain.build("chained", [member("first", settings)], CHAINED.model_copy(update={"start": "kept"}))
    learning = {weight.path.split("/")[0] for weight in model.trainable_weights}
    assert learning == {"chained_dense", "chained_probabilities"}
    before = {weight.path: np.asarray(weight) for weight in model.weights}
    fitted(model)
    changed = {w.path.split("/")[0] for w in model.weights if not np.array_equal(w, before[w.path])}
    assert changed == learning


def test_the_second_link_is_the_recipes():
    model = chain.build("chained", [member("first")], CHAINED.model_copy(update={"units": 5, "dropout": 0.5}))
    assert tap(model, "embedding").shape == (None, 5)
    assert model.get_layer("chained_embedding").rate == 0.5


def test_the_same_seed_gives_the_same_second_link():
    one, same, other = (
        chain.build("chained", [member("first")], CHAINED, seed).get_layer("chained_dense").get_weights()[0]
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_model_without_an_embedding_cannot_be_a_link():
    ensemble = joined("mean", [member("first"), member("second", NOTEBOOK)], "mean")
    with pytest.raises(ModelError, match="'mean_embedding' in the model 'mean', found none"):
        chain.build("chained", [ensemble], CHAINED)
