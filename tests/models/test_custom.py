import keras
import numpy as np
import pytest

from tests.small_models import NOTEBOOK, RESIDUAL, member, pixels
from tumorboard.config import Image, load
from tumorboard.models import architectures
from tumorboard.models.model_spec import tap


def test_the_studys_second_model_has_its_parameters():
    recipe = load("notebook")
    model = architectures.build_custom("custom", recipe.models["custom"], recipe.image, 4, seed=0)
    assert model.count_params() == 5_567_076
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 5_567_076
    assert [type(layer).__name__ for layer in model.layers] == [
        "InputLayer",
        *("RandomFlip", "RandomRotation", "RandomZoom", "Rescaling"),
        *("Conv2D", "MaxPooling2D", "Conv2D", "MaxPooling2D", "Dropout"),
        *("Conv2D", "MaxPooling2D", "Dropout", "Identity"),
        *("Flatten", "Dense", "Dropout", "Dense"),
    ]
    assert tap(model, "feature_map").shape == (None, 26, 26, 64)
    assert tap(model, "embedding").shape == (None, 128)


def test_the_residual_design_has_the_same_parameters_at_any_size():
    small, _ = member("m", RESIDUAL)
    large, _ = member("m", RESIDUAL, image=Image(size=224))
    assert small.count_params() == large.count_params() == 700_734  # of three classes
    assert tap(large, "frozen").shape == (None, 112, 112, 1)
    assert tap(large, "feature_map").shape == (None, 7, 7, 192)
    assert tap(large, "embedding").shape == (None, 192)


def test_the_residual_design_looks_at_grey_images_of_half_size():
    model, _ = member("m", RESIDUAL)
    trunk = keras.Model(model.input, tap(model, "frozen"))
    images = pixels(2)
    expected = images.astype("float64").reshape(2, 16, 2, 16, 2, 3).mean(axis=(2, 4, 5))
    np.testing.assert_allclose(trunk.predict_on_batch(images)[..., 0], expected, rtol=0, atol=1e-3)
    assert not trunk.trainable_weights


@pytest.mark.parametrize("settings", [NOTEBOOK, RESIDUAL])
def test_dropout_is_the_recipes(settings):
    model, _ = member("m", settings.model_copy(update={"dropout": 0.5}))
    rates = {layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)}
    assert rates == {0.5}
