"""The search space of a recipe file: which settings tuning may change, and to what.

    [search]
    "models.custom.training.learning_rate" = { low = 1e-3, high = 1e-2, log = true }
    "models.custom.augmentation.rotation" = [0.0, 0.05, 0.1]

Everything is checked before anything is trained: the names, and every end and choice by putting it into the
recipe. The recipe's own value must be among them, so that the first trial can be the recipe as it is.
"""

import tomllib
from collections.abc import Mapping
from typing import Annotated, Any

import tomli_w
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from tumorboard.config import SEARCH, Recipe, Section, parse, read
from tumorboard.errors import RecipeError

Value = bool | int | float | str
Choices = Annotated[list[Value], Field(min_length=2)]

_OPEN: Mapping[str, bool | set[str]] = {
    "models": True,
    "ensemble": True,
    "chained": True,
    "image": {"size", "resize", "interpolation"},
}
"""What may be searched: a seed is no setting but luck, and another window or split makes other data."""


class Range(Section):
    """Numbers between two, both included; `log` searches their logarithms. Whole ones for a whole setting."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> "Range":
        if not self.low < self.high:
            raise ValueError("low must be below high")
        if self.log and self.low <= 0:
            raise ValueError("low must be above 0 for a logarithm")
        return self


Space = Mapping[str, Range | list[Value]]
"""By the setting's name, such as "models.custom.dropout", its range or its choices."""


def load(name_or_file: str, recipe: Recipe) -> Space:
    """The search space that a recipe file declares; empty if it has none.

    Args:
        name_or_file: As for `recipe.load`.
        recipe: The recipe that is tuned: that file's, with what the command line sets.

    Raises:
        RecipeError: An unknown setting, a range or a choice that it cannot have, or its own value left out.
    """
    text, source = read(name_or_file)
    found = tomllib.loads(text).get(SEARCH, {})
    if not isinstance(found, dict):
        raise RecipeError(f"{source}: expected a table [search], found {str(found)[:60]!r}")
    return {name: _checked(name, space, recipe, source) for name, space in found.items()}


def value(recipe: Recipe, name: str) -> Value:
    """What the recipe itself has for a setting.

    Raises:
        RecipeError: No such setting; lists the known ones.
    """
    at: Any = recipe.model_dump(mode="json", include=_OPEN)
    for key in name.split("."):
        if not isinstance(at, dict) or key not in at:
            known = f"; known here: {', '.join(at)}" if isinstance(at, dict) else ""
            raise RecipeError(f"unknown setting {name[:80]!r}{known}")
        at = at[key]
    if isinstance(at, dict | list):
        inside = f", such as '{name}.{next(iter(at))}'" if isinstance(at, dict) and at else ""
        raise RecipeError(f"expected the name of one setting in quotes{inside}, found {name[:80]!r}")
    found: Value = at
    return found


def with_values(recipe: Recipe, values: Mapping[str, Value]) -> Recipe:
    """The recipe with other values of some settings, checked as a file would be.

    Raises:
        RecipeError: A value that the setting cannot have.
    """
    content = recipe.model_dump(mode="json")
    for name, new in values.items():
        *tables, key = name.split(".")
        at = content
        for table in tables:
            at = at[table]
        at[key] = new
    return parse(tomli_w.dumps(content), recipe.name)


def bearing_on(space: Space, recipe: Recipe, model: str) -> Space:
    """The part of a space that can change this model: of itself, of what it is made of, and of the images."""
    names = {model, *recipe.made_of(model)}
    tables = tuple(f"{_table(name)}." for name in names)
    return {name: one for name, one in space.items() if name.startswith((*tables, "image."))}


def _table(model: str) -> str:
    return model if model in ("ensemble", "chained") else f"models.{model}"


def _checked(name: str, found: object, recipe: Recipe, source: str) -> Range | list[Value]:
    where = f"{source}: search: {name[:80]}"
    try:
        own = value(recipe, name)
        space = _read(found, own)
        ends = [space.low, space.high] if isinstance(space, Range) else space
        taken = [value(with_values(recipe, {name: end}), name) for end in ends]
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise RecipeError(f"{where}: {first['msg'].removeprefix('Value error, ')[:150]}") from error
    inside = taken[0] <= own <= taken[1] if isinstance(space, Range) else own in taken  # type: ignore[operator]
    if not inside:
        raise RecipeError(
            f"{where}: expected a space with the recipe's own value {own!r} in it, found {str(found)[:80]}; "
            "widen it, or change the recipe's value"
        )
    return space if isinstance(space, Range) else taken


def _read(found: object, own: Value) -> Range | list[Value]:
    if isinstance(found, list):
        return TypeAdapter(Choices).validate_python(found, strict=True)
    if not isinstance(found, dict):
        raise RecipeError("expected a list of choices, or a table of low, high and log")
    if isinstance(own, bool | str):
        raise RecipeError(f"expected a list of choices for {own!r}, found a range")
    return Range.model_validate(found)
