import keras
import numpy as np

from tests.small_models import pixels
from tumorboard.combining.mirror import mirrored


def test_every_pixel_comes_out_at_the_other_side_exactly():
    image = keras.Input((32, 48, 3), name="m_image")
    model = keras.Model(image, mirrored(image, "m"))
    given = np.concatenate([pixels(2, size=48), pixels(1, seed=1, size=48)])[:, :32]
    np.testing.assert_array_equal(model.predict_on_batch(given), given[:, :, ::-1].astype(np.float32))
    assert not model.trainable_weights
    assert all(layer.name.startswith("m_") for layer in model.layers)
