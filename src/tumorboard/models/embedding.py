"""The vector that a network makes of an image, before its classifier."""

import keras
from keras import layers

from tumorboard.errors import ModelError
from tumorboard.models.contract import taps


def embedder(model: keras.Model) -> keras.Model:
    """Image -> (N, D): the model's own embedding, or its members' one after the other.

    Raises:
        ModelError: It has none.
    """
    found = taps(model, "embedding")
    own = [layer.output for layer in model.layers if layer.name == f"{model.name}_embedding"]
    chosen = own or found
    if not chosen:
        raise ModelError(f"expected an embedding in the model {model.name!r}, found none; see docs/models.md")
    joined = chosen[0] if len(chosen) == 1 else layers.Concatenate(name=f"{model.name}_embeddings")(chosen)
    return keras.Model(model.input, joined, name=f"{model.name}_embedder")
