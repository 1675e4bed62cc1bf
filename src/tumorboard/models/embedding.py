"""The vector that a network's classifier sees, which `evaluation.unlike` judges images by."""

from collections.abc import Callable

import keras
import numpy as np

from tumorboard import interruption
from tumorboard.data.rows import Images
from tumorboard.models.contract import tap, taps


def embedder(model: keras.Model) -> keras.Model:
    """Image -> the model's own embedding, or, as an ensemble has none, its members' side by side: (N, D).

    It shares the model's layers. Ask it an image a call, as `embeddings` does.

    Raises:
        ModelError: No embedding at all.
    """
    own = f"{model.name}_embedding"
    found = [layer.output for layer in model.layers if layer.name == own] or taps(model, "embedding")
    if not found:
        tap(model, "embedding")  # says what is missing
    joined = found[0] if len(found) == 1 else keras.layers.Concatenate()(found)
    return keras.Model(model.input, joined, name=f"{model.name}_embedder")


def embeddings(
    model: keras.Model,
    images: Images,
    on_image: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """Embeddings, (N, D) float32, of images (N, H, W, 3) uint8, by an `embedder`; one image a call."""
    rows = np.empty((len(images), model.output_shape[-1]), dtype=np.float32)
    for number in range(len(images)):
        interruption.stop_if_asked()
        rows[number] = model.predict_on_batch(images[number : number + 1])[0]
        on_image(number + 1, len(images))
    return rows
