"""Class probabilities of images, predicted one image at a time so that no other image can change a bit."""

from collections.abc import Callable

import keras
import numpy as np

from tumorboard import progress
from tumorboard.data.image_cache import Images


def probabilities(
    model: keras.Model,
    images: Images,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """Predict class probabilities, (N, C) float64, of images (N, H, W, 3) uint8.

    The batch size is always 1: the compiled graph runs with one shape, and the prediction for an image
    depends neither on other images nor on their order. On a CPU this is no slower than larger batches.
    """
    rows = np.empty((len(images), model.output_shape[-1]), dtype=np.float64)
    for number in range(len(images)):
        progress.stop_if_asked()
        rows[number] = model.predict_on_batch(images[number : number + 1])[0]
        on_image(number + 1, len(images))
    return rows
