"""Models made of saved models: copies of these and the layers on top of them, as one Keras model.

An ensemble combines its members' predictions; a chain is a second network on the embeddings of its links.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from tumorboard.config import Chained
from tumorboard.ensembles.combination import WEIGHTED_FORMS, CombinationRule
from tumorboard.errors import ModelError
from tumorboard.models.architectures import classifier, embedding_layers
from tumorboard.models.model_spec import LoadedModel, ModelSpec, copy_into, embedding_model, tap
from tumorboard.models.tta import mirror_averaged

DENSE_FORMS = frozenset({"mean_dense", "concat_dense"})
"""Forms whose last layer is trained on the members' probabilities."""

_SHARPNESS = 1e6  # factor before a softmax that turns the largest probability into 1, the others into 0


def check_compatible(members: Sequence[LoadedModel], form: str = "") -> ModelSpec:
    """Return the first member's specification if all members agree in classes and image settings.

    Raises:
        ModelError: Fewer than two members (one for `mirrored`), or two that differ in classes, their order
            or image settings; the message names both.
    """
    if len(members) < (1 if form == "mirrored" else 2):
        raise ModelError(f"expected at least two models to combine, found {len(members)}")
    first = members[0][1]
    for _, other in members[1:]:
        for what, expected, actual in (
            ("classes", first.class_names, other.class_names),
            ("input", first.image.model_dump(), other.image.model_dump()),
        ):
            if expected == actual:
                continue
            is_permuted = what == "classes" and sorted(expected) == sorted(actual)
            reason = "the same classes in another order" if is_permuted else f"other {what}"
            raise ModelError(
                f"{first.name[:30]!r} and {other.name[:30]!r} do not fit together: {reason}, "
                f"{str(expected)[:70]} against {str(actual)[:70]}; train them on the same classes and image "
                "settings",
                [f"{first.name}: {expected}", f"{other.name}: {actual}"],
            )
    return first


def copy_members(
    members: Sequence[LoadedModel], image: Any, name: str, *, trainable: bool
) -> list[keras.Model]:
    """Copy each member, with its own weights, onto one input; its layers are named `<name>_<member>_...`.

    A member of a name that is taken gets a number.
    """
    copies: list[keras.Model] = []
    used: set[str] = set()
    for model, _ in members:
        suffixes = [layer.name.removeprefix(model.name) for layer in model.layers]
        prefix = f"{name}_{model.name}"
        for number in itertools.count(2):
            names = {prefix + suffix for suffix in suffixes}
            if not names & used:
                break
            prefix = f"{name}_{model.name}_{number}"
        used |= names
        copy = copy_into(model, image, prefix)
        if not trainable:
            copy.trainable = False
        copies.append(copy)
    return copies


def build_ensemble(
    name: str,
    members: Sequence[LoadedModel],
    rule: CombinationRule,
    *,
    seed: int = 0,
) -> keras.Model:
    """Build a model that holds frozen copies of its members and combines their predictions.

    Args:
        name: The prefix of all layer names.
        members: At least two models that agree in input and classes; one is enough for `mirrored`.
        rule: The form of the combination and its fitted parameters. `mirrored` is the mean of every member's
            predictions for the image and for its mirror image.
        seed: Seed of the initial weights of a trained layer.

    Raises:
        ModelError: The members do not fit together.
    """
    spec = check_compatible(members, rule.form)
    image = keras.Input((spec.image.size, spec.image.size, 3), name=f"{name}_image")
    if rule.form == "boosted":
        members = [(keras.Model(m.input, embedding_model(m).output, name=m.name), s) for m, s in members]
    copies = copy_members(members, image, name, trainable=False)
    outputs = [(mirror_averaged(copy) if rule.form == "mirrored" else copy).output for copy in copies]
    model = keras.Model(image, _combine(outputs, rule, len(spec.class_names), name, seed), name=name)
    kernel, bias = np.array(rule.kernel), np.array(rule.bias)
    if rule.form == "stacked":
        model.get_layer(f"{name}_probabilities").set_weights([kernel, bias])
    if rule.form == "boosted":
        for number in range(len(rule.weights)):
            part = slice(number * len(spec.class_names), (number + 1) * len(spec.class_names))
            model.get_layer(f"{name}_head{number}").set_weights([kernel[:, part], bias[part]])
    return model


def _combine(outputs: list[Any], rule: CombinationRule, classes: int, name: str, seed: int) -> Any:
    """Add the layers of a form to the members' probabilities, or embeddings for `boosted`."""
    if rule.form in {"mean", "mirrored"}:
        return layers.Average(name=f"{name}_probabilities")(outputs)
    if rule.form in {"concat_dense", "stacked"}:
        return classifier(layers.Concatenate(name=f"{name}_concatenate")(outputs), classes, name, seed)
    if rule.form in WEIGHTED_FORMS:
        return layers.Add(name=f"{name}_probabilities")(_weighted(outputs, rule, name))
    if rule.form == "vote":
        votes = [_vote(output, f"{name}_ballot{number}") for number, output in enumerate(outputs)]
        return layers.Average(name=f"{name}_probabilities")(votes)
    if rule.form == "boosted":
        x = outputs[0] if len(outputs) == 1 else layers.Concatenate(name=f"{name}_concatenate")(outputs)
        heads = [
            layers.Dense(classes, "softmax", trainable=False, name=f"{name}_head{number}")(x)
            for number in range(len(rule.weights))
        ]
        votes = [_vote(head, f"{name}_ballot{number}") for number, head in enumerate(heads)]
        votes = _weighted(votes, rule, name)
        total = votes[0] if len(votes) == 1 else layers.Add(name=f"{name}_votes")(votes)
        return layers.Softmax(name=f"{name}_probabilities")(total)  # the class probabilities of SAMME's model
    return classifier(layers.Average(name=f"{name}_average")(outputs), classes, name, seed)


def _weighted(outputs: Sequence[Any], rule: CombinationRule, name: str) -> list[Any]:
    return [
        layers.Rescaling(weight, name=f"{name}_weight{number}")(output)
        for number, (weight, output) in enumerate(zip(rule.weights, outputs, strict=True))
    ]


def _vote(probabilities: Any, name: str) -> Any:
    """Turn probabilities into a one-hot vote, in public layers; an exact tie splits the vote."""
    x = layers.Rescaling(_SHARPNESS, name=f"{name}_sharpen")(probabilities)
    return layers.Softmax(name=f"{name}_softmax")(x)


def dense_head(model: keras.Model) -> keras.Model:
    """Return the trained layer of a `mean_dense` or `concat_dense` ensemble, on members' probabilities."""
    names = (f"{model.name}_average", f"{model.name}_concatenate")
    joint = next(layer for layer in model.layers if layer.name in names)
    return keras.Model(joint.input, model.output, name=f"{model.name}_head")


def build_chain(name: str, links: Sequence[LoadedModel], settings: Chained, seed: int = 0) -> keras.Model:
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
