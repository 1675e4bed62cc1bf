"""Whether models fit together, and copies of them under one roof."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from tumorboard.ensembles.combination import WEIGHTED_FORMS, CombinationRule
from tumorboard.errors import ModelError
from tumorboard.models.architectures import classifier
from tumorboard.models.model_spec import ModelSpec, copy_into, embedding_model
from tumorboard.models.tta import mirror_averaged


def check_compatible(members: Sequence[tuple[keras.Model, ModelSpec]], form: str = "") -> ModelSpec:
    """The spec that all members share.

    Raises:
        ModelError: Fewer than two (a mirrored one may be alone), or two that differ in classes, their order,
            or the input; says which.
    """
    if len(members) < (1 if form == "mirrored" else 2):
        raise ModelError(f"expected at least two models to combine, found {len(members)}")
    first = members[0][1]
    for _, other in members[1:]:
        _compare("classes", first, first.class_names, other, other.class_names)
        _compare("input", first, first.image.model_dump(), other, other.image.model_dump())
    return first


def _compare(what: str, first: ModelSpec, expected: Any, other: ModelSpec, found: Any) -> None:
    if expected == found:
        return
    same_set = what == "classes" and sorted(expected) == sorted(found)
    reason = "the same classes in another order" if same_set else f"other {what}"
    raise ModelError(
        f"{first.name[:30]!r} and {other.name[:30]!r} do not fit together: {reason}, "
        f"{str(expected)[:70]} against {str(found)[:70]}; train them on the same classes and image settings",
        [f"{first.name}: {expected}", f"{other.name}: {found}"],
    )


def copy_members(
    members: Sequence[tuple[keras.Model, ModelSpec]], image: Any, name: str, *, trainable: bool
) -> list[keras.Model]:
    """A copy of each member with weights of its own, its layers named `<name>_<member>_…`, on one input."""
    copies: list[keras.Model] = []
    used: set[str] = set()
    for model, _ in members:
        prefix = _free_prefix(model, f"{name}_{model.name}", used)
        used |= _renamed(model, prefix)
        copy = copy_into(model, image, prefix)
        if not trainable:
            copy.trainable = False
        copies.append(copy)
    return copies


def _free_prefix(model: keras.Model, prefix: str, used: set[str]) -> str:
    """The prefix, numbered if layers of its names are there already."""
    numbered = (f"{prefix}_{number}" for number in itertools.count(2))
    return next(one for one in itertools.chain([prefix], numbered) if not _renamed(model, one) & used)


def _renamed(model: keras.Model, prefix: str) -> set[str]:
    return {prefix + layer.name.removeprefix(model.name) for layer in model.layers}


DENSE_FORMS = frozenset({"mean_dense", "concat_dense"})
"""Forms whose last layer is trained on the members' probabilities."""

_SHARP = 1e6  # a softmax this sharp turns the largest probability into 1, the others into 0


def build(
    name: str,
    members: Sequence[tuple[keras.Model, ModelSpec]],
    rule: CombinationRule,
    *,
    seed: int = 0,
) -> keras.Model:
    """A model that holds copies of its members, frozen, and joins their answers.

    Args:
        name: The prefix of all layer names.
        members: At least two models that agree in input and classes; one is enough to be mirrored.
        rule: What joins the answers, and its fitted weights. `mirrored` is the
            mean of every member's answers to the image and to its mirror image.
        seed: For the first weights of a trained layer.

    Raises:
        ModelError: The members do not fit together; says why.
    """
    spec = check_compatible(members, rule.form)
    size = spec.image.size
    image = keras.Input((size, size, 3), name=f"{name}_image")
    if rule.form == "boosted":
        members = [(keras.Model(m.input, embedding_model(m).output, name=m.name), c) for m, c in members]
    copies = copy_members(members, image, name, trainable=False)
    answers = [(mirror_averaged(copy) if rule.form == "mirrored" else copy).output for copy in copies]
    model = keras.Model(image, _join(answers, rule, len(spec.class_names), name, seed), name=name)
    if rule.form == "stacked":
        model.get_layer(f"{name}_probabilities").set_weights([np.array(rule.kernel), np.array(rule.bias)])
    for number in range(len(rule.weights) if rule.form == "boosted" else 0):
        part = slice(number * len(spec.class_names), (number + 1) * len(spec.class_names))
        weights = [np.array(rule.kernel)[:, part], np.array(rule.bias)[part]]
        model.get_layer(f"{name}_head{number}").set_weights(weights)
    return model


def dense_head(model: keras.Model) -> keras.Model:
    """Return the trained layer of a `mean_dense` or `concat_dense` ensemble, on members' probabilities."""
    joints = (f"{model.name}_average", f"{model.name}_concatenate")
    joint = next(layer for layer in model.layers if layer.name in joints)
    return keras.Model(joint.input, model.output, name=f"{model.name}_head")


def _join(answers: list[Any], rule: CombinationRule, classes: int, name: str, seed: int) -> Any:
    output = f"{name}_probabilities"
    if rule.form in {"mean", "mirrored"}:
        return layers.Average(name=output)(answers)
    if rule.form in {"concat_dense", "stacked"}:
        return classifier(layers.Concatenate(name=f"{name}_concatenate")(answers), classes, name, seed)
    if rule.form in WEIGHTED_FORMS:
        return layers.Add(name=output)(_scaled(answers, rule, name))
    if rule.form == "boosted":
        return _boosted(answers, rule, classes, name)
    if rule.form == "vote":
        return layers.Average(name=output)([_ballot(x, f"{name}_ballot{i}") for i, x in enumerate(answers)])
    return classifier(layers.Average(name=f"{name}_average")(answers), classes, name, seed)


def _scaled(answers: Sequence[Any], rule: CombinationRule, name: str) -> list[Any]:
    return [
        layers.Rescaling(weight, name=f"{name}_weight{number}")(answer)
        for number, (weight, answer) in enumerate(zip(rule.weights, answers, strict=True))
    ]


def _boosted(embeddings: Sequence[Any], rule: CombinationRule, classes: int, name: str) -> Any:
    """The heads' weighted votes; their softmax is what SAMME's model says of the classes' probabilities."""
    x = embeddings[0] if len(embeddings) == 1 else layers.Concatenate(name=f"{name}_concatenate")(embeddings)
    heads = [
        layers.Dense(classes, "softmax", trainable=False, name=f"{name}_head{number}")(x)
        for number in range(len(rule.weights))
    ]
    votes = _scaled([_ballot(one, f"{name}_ballot{i}") for i, one in enumerate(heads)], rule, name)
    total = votes[0] if len(votes) == 1 else layers.Add(name=f"{name}_votes")(votes)
    return layers.Softmax(name=f"{name}_probabilities")(total)


def _ballot(probabilities: Any, name: str) -> Any:
    """A one-hot vote for the most probable class, in public layers; an exact tie splits the vote."""
    x = layers.Rescaling(_SHARP, name=f"{name}_sharpen")(probabilities)
    return layers.Softmax(name=f"{name}_softmax")(x)
