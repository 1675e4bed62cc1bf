import keras
import numpy as np
import pytest

from tests.small_models import pixels
from tumorboard.models.augmentation import augment
from tumorboard.recipe import Augmentation

NOTHING = Augmentation(flip="none", rotation=0, zoom=0)
EVERYTHING = Augmentation(flip="horizontal_and_vertical", translation=0.1, contrast=0.2)
ONE_EACH = {
    "flip": {"flip": "horizontal"},
    "rotation": {"rotation": 0.2},
    "zoom": {"zoom": 0.2},
    "translation": {"translation": 0.2},
    "contrast": {"contrast": 0.5},
}


def augmenting(settings, seed=0):
    image = keras.Input((32, 32, 3), name="m_image")
    return keras.Model(image, augment(image, settings, "m", seed))


def drawn(settings, seed=0):
    return np.asarray(augmenting(settings, seed)(pixels(8), training=True))


@pytest.mark.parametrize("kind", ONE_EACH)
def test_each_setting_adds_its_own_layer(kind):
    settings = NOTHING.model_copy(update=ONE_EACH[kind])
    assert [layer.name for layer in augmenting(settings).layers[1:]] == [f"m_augment_{kind}"]
    assert not np.array_equal(drawn(settings), pixels(8))


def test_nothing_adds_no_layer():
    assert len(augmenting(NOTHING).layers) == 1


def test_prediction_sees_the_pixels_as_they_are():
    np.testing.assert_array_equal(augmenting(EVERYTHING).predict_on_batch(pixels(8)), pixels(8))


def test_training_sees_others_each_time():
    model, images = augmenting(EVERYTHING), pixels(8)
    first, second = (np.asarray(model(images, training=True)) for _ in range(2))
    assert not np.array_equal(first, images)
    assert not np.array_equal(first, second)


def test_the_same_seed_draws_the_same():
    np.testing.assert_array_equal(drawn(EVERYTHING, seed=1), drawn(EVERYTHING, seed=1))
    assert not np.array_equal(drawn(EVERYTHING, seed=1), drawn(EVERYTHING, seed=2))


def test_no_two_layers_share_a_seed():
    layers = [layer for seed in range(3) for layer in augmenting(EVERYTHING, seed).layers[1:]]
    assert len({layer.seed for layer in layers}) == len(layers) == 15


def test_contrast_stays_within_0_to_255():
    found = drawn(NOTHING.model_copy(update={"contrast": 0.9}))
    assert found.min() >= 0
    assert found.max() <= 255
