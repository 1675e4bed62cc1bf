"""The vector that a network's classifier sees, which `evaluation.unlike` judges images by."""

import keras

from tumorboard.models.contract import tap, taps


def embedder(model: keras.Model) -> keras.Model:
    """Image -> the model's own embedding, or, as an ensemble has none, its members' side by side: (N, D).

    It shares the model's layers. Ask it an image a call, as `predicting.probabilities` does.

    Raises:
        ModelError: No embedding at all.
    """
    own = f"{model.name}_embedding"
    found = [layer.output for layer in model.layers if layer.name == own] or taps(model, "embedding")
    if not found:
        tap(model, "embedding")  # says what is missing
    joined = found[0] if len(found) == 1 else keras.layers.Concatenate()(found)
    return keras.Model(model.input, joined, name=f"{model.name}_embedder")
