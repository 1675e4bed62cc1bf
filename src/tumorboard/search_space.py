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

from tumorboard.config import SEARCH, Recipe, RecipeTable, parse, read
from tumorboard.errors import RecipeError

Value = bool | int | float | str
Choices = Annotated[list[Value], Field(min_length=2)]

_OPEN: Mapping[str, bool | set[str]] = {
    "models": True,
    "ensemble": True,
    "chained": True,
    "image": {"size", "resize", "interpolation"},
}
"""What may be searched: not the seed, which is no setting; not window, depth, split: they make other data."""


class Range(RecipeTable):
    """Numbers from `low` to `high`, integers for an integer setting; `log` searches their logarithms."""

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
    """Read the search space that a recipe file declares; empty if it has none.

    Args:
        name_or_file: As for `config.load`.
        recipe: The recipe that is tuned: that file's, with what the command line sets.

    Raises:
        RecipeError: An unknown setting, a range or a choice that it cannot have, or its own value left out.
    """
    text, source = read(name_or_file)
    declared = tomllib.loads(text).get(SEARCH, {})
    if not isinstance(declared, dict):
        raise RecipeError(f"{source}: expected a table [search], found {str(declared)[:60]!r}")
    return {
        name: _checked(name, content, recipe, f"{source}: search: {name[:80]}")
        for name, content in declared.items()
    }


def _checked(name: str, declared: object, recipe: Recipe, where: str) -> Range | list[Value]:
    """The range or the choices of one setting, every one of them a value that it can have."""
    try:
        own = value(recipe, name)
        space: Range | list[Value]
        if isinstance(declared, list):
            space = TypeAdapter(Choices).validate_python(declared, strict=True)
        elif not isinstance(declared, dict):
            raise RecipeError("expected a list of choices, or a table of low, high and log")
        elif isinstance(own, bool | str):
            raise RecipeError(f"expected a list of choices for {own!r}, found a range")
        else:
            space = Range.model_validate(declared)
        ends = [space.low, space.high] if isinstance(space, Range) else space
        taken = [value(with_values(recipe, {name: end}), name) for end in ends]
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from error
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise RecipeError(f"{where}: {message[:150]}") from error
    inside = taken[0] <= own <= taken[1] if isinstance(space, Range) else own in taken  # type: ignore[operator]
    if not inside:
        raise RecipeError(
            f"{where}: expected a space with the recipe's own value {own!r} in it, found "
            f"{str(declared)[:80]}; widen it, or change the recipe's value"
        )
    return space if isinstance(space, Range) else taken


def value(recipe: Recipe, name: str) -> Value:
    """Look up a setting by its name, such as "models.custom.dropout".

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
    setting: Value = at
    return setting


def with_values(recipe: Recipe, values: Mapping[str, Value]) -> Recipe:
    """Give some settings other values, checked as those of a file are.

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
    """Select what can change a model: settings of its own, of its dependencies, and of the images."""
    tables = ["image."]
    for name in (model, *recipe.dependencies(model)):
        tables.append(f"{name}." if name in ("ensemble", "chained") else f"models.{name}.")
    return {name: values for name, values in space.items() if name.startswith(tuple(tables))}
