"""Chains: a second network on the embeddings of others, as one model."""

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
    """Cut the links behind their embeddings and add Dense, Dropout and a new classifier.

    The chain owns copies, so that its training changes no other model. What was frozen in the links stays
    frozen; with `start` "kept" all of them does. The embeddings of several links are concatenated.
    """
    spec = links[0][1]
    image = keras.Input((spec.image.size, spec.image.size, 3), name=f"{name}_image")
    cut = [(keras.Model(link.input, tap(link, "embedding"), name=link.name), spec) for link, spec in links]
    copies = copy_members(cut, image, name, trainable=settings.start != "kept")
    embeddings = [copy.output for copy in copies]
    x = embeddings[0] if len(embeddings) == 1 else layers.Concatenate(name=f"{name}_concatenate")(embeddings)
    x = embedding_layers(x, settings.units, settings.dropout, name, seed)
    return keras.Model(image, classifier(x, len(spec.class_names), name, seed), name=name)
