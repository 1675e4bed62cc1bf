"""A second network on the embeddings of others, as one model."""

from collections.abc import Sequence

import keras
from keras import layers

from tumorboard.config import Chained
from tumorboard.ensembles.ensemble import copies_of
from tumorboard.models.architectures import classify, link
from tumorboard.models.model_spec import Contract, tap


def build(
    name: str, links: Sequence[tuple[keras.Model, Contract]], settings: Chained, seed: int = 0
) -> keras.Model:
    """Cut the first models at their embeddings and feed these to Dense, Dropout and a new classifier.

    The chain owns copies, so that its training changes nobody else; what was frozen in them stays frozen,
    and with `start` "kept" all of them does.
    Several first links are joined by concatenation.
    """
    contract = links[0][1]
    size = contract.image.size
    image = keras.Input((size, size, 3), name=f"{name}_image")
    cut = [(keras.Model(m.input, tap(m, "embedding"), name=m.name), c) for m, c in links]
    learning = settings.start != "kept"
    embeddings = [copy.output for copy in copies_of(cut, image, name, trainable=learning)]
    x = embeddings[0] if len(embeddings) == 1 else layers.Concatenate(name=f"{name}_concatenate")(embeddings)
    x = link(x, settings.units, settings.dropout, name, seed)
    return keras.Model(image, classify(x, len(contract.class_names), name, seed), name=name)
