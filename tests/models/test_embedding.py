import keras
import numpy as np
import pytest

from tests.small_models import chained, joined, member, pixels
from tumorboard.errors import ModelError
from tumorboard.models.inference import probabilities
from tumorboard.models.model_spec import embedding_model


def test_a_model_s_own_embedding_is_what_its_classifier_sees() -> None:
    model, _ = member("one")
    images = pixels(3)
    found = probabilities(embedding_model(model), images)
    assert found.shape == (3, 8)
    kernel, bias = model.get_layer("one_probabilities").get_weights()
    logits = found @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-5)


def test_an_ensemble_has_its_members_and_a_chain_its_own() -> None:
    one, two = member("one"), member("two", seed=1)
    both, _ = joined("both", [one, two], "mean")
    images = pixels(2)
    parts = [probabilities(embedding_model(m), images) for m, _ in (one, two)]
    np.testing.assert_allclose(probabilities(embedding_model(both), images), np.hstack(parts), atol=1e-6)
    link, _ = chained("link", [one])
    assert probabilities(embedding_model(link), images).shape == (2, 8)


def test_a_network_without_one_is_refused() -> None:
    image = keras.Input((32, 32, 3), name="bare_image")
    bare = keras.Model(image, keras.layers.Flatten(name="bare_probabilities")(image), name="bare")
    with pytest.raises(ModelError, match="bare"):
        embedding_model(bare)
