"""Whether models fit together, and copies of them under one roof."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras

from tumorboard.errors import ModelError
from tumorboard.models.contract import Contract, copy_into


def check_compatible(members: Sequence[tuple[keras.Model, Contract]], form: str = "") -> Contract:
    """The contract that all members share.

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


def _compare(what: str, first: Contract, expected: Any, other: Contract, found: Any) -> None:
    if expected == found:
        return
    same_set = what == "classes" and sorted(expected) == sorted(found)
    reason = "the same classes in another order" if same_set else f"other {what}"
    raise ModelError(
        f"{first.name[:30]!r} and {other.name[:30]!r} do not fit together: {reason}, "
        f"{str(expected)[:70]} against {str(found)[:70]}; train them on the same classes and image settings",
        [f"{first.name}: {expected}", f"{other.name}: {found}"],
    )


def copies_of(
    members: Sequence[tuple[keras.Model, Contract]], image: Any, name: str, *, trainable: bool
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
