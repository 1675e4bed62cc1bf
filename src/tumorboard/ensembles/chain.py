"""A second network on the embeddings of others, as one model."""

from collections.abc import Sequence

import keras
from keras import layers

from tumorboard.config import Chained
from tumorboard.ensembles.ensemble import copy_members
from tumorboard.models.architectures import classifier, embedding_layers
from tumorboard.models.model_spec import ModelSpec, tap


def build(
    name: str, links: Sequence[tuple[keras.Model, ModelSpec]], settings: Chained, seed: int = 0
) -> keras.Model:
    """Cut the first models at their embeddings and feed these to Dense, Dropout and a new classifier.

    The chain owns copies, so that its training changes nobody else; what was frozen in them stays frozen,
    and with `start` "kept" all of them does.
    Several first links are joined by concatenation.
    """
    spec = links[0][1]
    size = spec.image.size
    image = keras.Input((size, size, 3), name=f"{name}_image")
    cut = [(keras.Model(m.input, tap(m, "embedding"), name=m.name), c) for m, c in links]
    learning = settings.start != "kept"
    embeddings = [copy.output for copy in copy_members(cut, image, name, trainable=learning)]
    x = embeddings[0] if len(embeddings) == 1 else layers.Concatenate(name=f"{name}_concatenate")(embeddings)
    x = embedding_layers(x, settings.units, settings.dropout, name, seed)
    return keras.Model(image, classifier(x, len(spec.class_names), name, seed), name=name)
