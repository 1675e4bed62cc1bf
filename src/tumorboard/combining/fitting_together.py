"""Whether models fit together, and copies of them under one roof."""

from collections.abc import Sequence
from typing import Any

import keras

from tumorboard.errors import ModelError
from tumorboard.models.contract import Contract, copy_into


def check_compatible(members: Sequence[tuple[keras.Model, Contract]]) -> Contract:
    """The contract that all members share.

    Raises:
        ModelError: Fewer than two, or two that differ in classes, their order, or the input; says which.
    """
    if len(members) < 2:
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
        f"{first.name!r} and {other.name!r} do not fit together: {reason}, {expected} against {found}; "
        "train them on the same classes and image settings"
    )


def copies_of(
    members: Sequence[tuple[keras.Model, Contract]], image: Any, name: str, *, trainable: bool
) -> list[keras.Model]:
    """A copy of each member with weights of its own, its layers named `<name>_<member>_…`, on one input."""
    copies: list[keras.Model] = []
    used: set[str] = set()
    for model, _ in members:
        unique = model.name
        while unique in used:
            unique = f"{model.name}_{len(used) + 1}"
        used.add(unique)
        copy = copy_into(model, image, f"{name}_{unique}")
        if not trainable:
            copy.trainable = False
        copies.append(copy)
    return copies
