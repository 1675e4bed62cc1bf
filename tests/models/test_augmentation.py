import keras
import numpy as np
import pytest

from tests.small_models import pixels
from tumorboard.config import Augmentation
from tumorboard.models.augmentation import Augmented, augment

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


def ending(settings, seed=0):
    """A model that does nothing but augment; something comes after, as in every network."""
    image = keras.Input((32, 48, 3), name="m_image")
    return keras.Model(image, keras.layers.Identity()(augment(image, settings, "m", seed)))


def smooth(count=6):
    """Soft waves: two interpolations of them differ by little."""
    row, column = np.mgrid[:32, :48]
    phases = np.random.default_rng(0).uniform(0, 6, (count, 1, 1, 3))
    waves = np.sin(row[None, :, :, None] / 9 + phases) + np.cos(column[None, :, :, None] / 7 + phases)
    return (60 * waves + 128).astype("float32")


@pytest.mark.parametrize("fill", ["reflect", "constant", "nearest"])
@pytest.mark.parametrize("kind", ONE_EACH)
def test_a_single_change_is_kerass_own(kind, fill):
    settings = NOTHING.model_copy(update={**ONE_EACH[kind], "fill": fill})
    one_by_one = np.asarray(ending(settings)(smooth(), training=True))
    np.testing.assert_allclose(Augmented(ending(settings)).predict_on_batch(smooth()), one_by_one, atol=1e-3)


@pytest.mark.parametrize("flip", ["none", "horizontal"])
def test_turn_zoom_and_shift_at_once_are_kerass_own_but_for_what_it_blurs(flip):
    settings = Augmentation(flip=flip, rotation=0.1, zoom=0.3, translation=0.1)
    one_by_one = np.asarray(ending(settings)(smooth(), training=True))
    at_once = Augmented(ending(settings)).predict_on_batch(smooth())
    middle = np.s_[:, 12:20, 18:30]  # nearer to the border their fills meet
    assert np.abs(one_by_one - smooth())[middle].max() > 20
    np.testing.assert_allclose(at_once[middle], one_by_one[middle], atol=1.5)
    assert not np.array_equal(at_once, one_by_one)


def test_augmented_draws_anew_each_time_and_the_same_for_the_same_seed():
    first, again, other = (Augmented(ending(EVERYTHING, seed)) for seed in (1, 1, 2))
    images = pixels(8, size=48)[:, :32]
    drawn = first.predict_on_batch(images)
    np.testing.assert_array_equal(again.predict_on_batch(images), drawn)
    assert not np.array_equal(other.predict_on_batch(images), drawn)
    assert not np.array_equal(first.predict_on_batch(images), drawn)


@pytest.mark.parametrize("other", ["augmented", "plain"])
def test_in_branches_each_layer_interpolates_by_itself(other):
    image = keras.Input((32, 48, 3))
    settings = Augmentation(rotation=0.1, zoom=0.3)

    def both():
        second = augment(image, settings, "b", 1) if other == "augmented" else keras.layers.Identity()(image)
        return keras.Model(image, [keras.layers.Identity()(augment(image, settings, "a", 0)), second])

    expected = both()(smooth(), training=True)
    for one, found in zip(expected, Augmented(both()).predict_on_batch(smooth()), strict=True):
        np.testing.assert_allclose(found, np.asarray(one), atol=1e-3)
