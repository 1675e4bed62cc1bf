"""The settings of a run: frozen, validated, read from and written to TOML.

A recipe holds everything that may change a result. What is planned here is what runs, and what a
saved run is repeated with. An unknown key is an error that lists the known ones.

A file may also declare a table `[search]`, which `tumorboard.search` reads for `tumorboard tune`. It is no
part of the recipe: what a run does never depends on it.
"""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from pydantic import BaseModel, Field, ValidationError, model_validator

from tumorboard.errors import RecipeError
from tumorboard.sections import (
    Augmentation,
    Chained,
    Custom,
    Ensemble,
    Image,
    Name,
    Network,
    Pretrained,
    Section,
    Splitting,
    Training,
)

__all__ = [
    "Augmentation",
    "Chained",
    "Custom",
    "Ensemble",
    "Image",
    "Network",
    "Pretrained",
    "Recipe",
    "Splitting",
    "Training",
    "dump",
    "load",
    "parse",
    "read",
]

SEARCH = "search"
"""The table of a recipe file that only tuning reads."""


class Recipe(Section):
    """Everything that may change the result of a run."""

    name: str
    description: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    threads: Annotated[int, Field(ge=0)] = 0
    image: Image = Image()
    splitting: Splitting = Splitting()
    models: Annotated[dict[Name, Network], Field(min_length=1)]
    ensemble: Ensemble = Ensemble()
    chained: Chained = Chained()

    @model_validator(mode="after")
    def _names_fit(self) -> "Recipe":
        reserved = {"ensemble", "chained"} & set(self.models)
        if reserved:
            raise ValueError(f"models may not be named {sorted(reserved)}")
        links = (self.chained.first, *self.chained.also)
        if len(set(links)) < len(links):
            raise ValueError(f"expected each of the chain's links once, found {list(links)}")
        for name in (*self.ensemble.members, *links):
            if name not in self.models:
                raise ValueError(f"{name!r} is not one of the models {sorted(self.models)}")
        if self.models[self.chained.first].kind != "pretrained":
            raise ValueError(f"chained.first must be a pretrained model, {self.chained.first!r} is not")
        for name in links if self.chained.training.views else ():
            if getattr(self.models[name], "design", "") == "notebook":
                raise ValueError(f"{name!r} has no frozen part to keep; set chained.training.views = 0")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """All models, in the order in which they are made."""
        return (*self.models, "ensemble", "chained")

    def made_of(self, model: str) -> tuple[str, ...]:
        """The models that must be there before this one: an ensemble's members, a chain's links."""
        links = (self.chained.first, *self.chained.also)
        return {"ensemble": self.ensemble.members, "chained": links}.get(model, ())

    def training(self, name: str) -> Training:
        """How a model is fitted, the ensemble and the chain among them."""
        parts = {**self.models, "ensemble": self.ensemble, "chained": self.chained}
        return parts[name].training

    def with_options(
        self, backbone: str | None, weights: str | None, seed: int | None, window: str | None = None
    ) -> "Recipe":
        """This recipe with what the command line sets for all its pretrained models, and for its images."""
        chosen = {"backbone": backbone, "weights": weights}
        content = self.model_dump(mode="json")
        for network in content["models"].values():
            if network["kind"] == "pretrained":
                network |= {key: value for key, value in chosen.items() if value is not None}
        content["image"] |= {} if window is None else {"window": window}
        return parse(tomli_w.dumps({**content, "seed": self.seed if seed is None else seed}), self.name)


def load(name_or_file: str) -> Recipe:
    """Read a recipe that comes with the package, by name, or one of the user's, by path.

    Raises:
        RecipeError: No such recipe, not TOML, an unknown key, or a value out of range.
    """
    return parse(*read(name_or_file))


def read(name_or_file: str) -> tuple[str, str]:
    """The text of a recipe, and what to call it in errors.

    Raises:
        RecipeError: No such recipe.
    """
    known = sorted(
        file.name.removesuffix(".toml") for file in _shipped().iterdir() if file.name.endswith(".toml")
    )
    if name_or_file in known:
        return (_shipped() / f"{name_or_file}.toml").read_text(encoding="utf-8"), name_or_file
    path = Path(name_or_file)
    try:
        return path.read_text(encoding="utf-8"), str(path)[-80:]
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"expected a recipe ({', '.join(known)}) or a TOML file in UTF-8, found neither at "
            f"{name_or_file[-80:]!r} ({getattr(error, 'strerror', 'not UTF-8')})"
        ) from error


def parse(text: str, source: str) -> Recipe:
    """Read a recipe from TOML text; `source` is named in errors. A search space in it is left unread.

    Raises:
        RecipeError: Not TOML, an unknown key, or a value out of range.
    """
    try:
        content = tomllib.loads(text)
        return Recipe.model_validate({key: value for key, value in content.items() if key != SEARCH})
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{source} is not valid TOML: {error}") from error
    except ValidationError as error:
        lines = [explain(one, Recipe) for one in error.errors()]
        raise RecipeError(f"{source}: {lines[0]}", lines[1:]) from error


def dump(recipe: Recipe) -> str:
    """The recipe as TOML, every setting written out, so that a later default changes nothing."""
    return tomli_w.dumps(recipe.model_dump(mode="json"))


def _shipped() -> Any:
    return resources.files("tumorboard") / "recipes"


def explain(error: Any, root: type[BaseModel]) -> str:
    """One pydantic error as one line; an unknown key lists the known ones."""
    where = ".".join(str(part) for part in error["loc"]) or "recipe"
    if error["type"] == "extra_forbidden":
        return f"unknown key {where!r}; known here: {', '.join(_known_keys(error['loc'][:-1], root))}"
    if error["type"] == "missing":
        return f"expected the key {where!r}, found none; see docs/recipes.md"
    found = error["input"] if not isinstance(error["input"], dict) else "a table"
    return f"{where}: {error['msg'].removeprefix('Value error, ')[:150]} (found {repr(found)[:60]})"


def _known_keys(location: tuple[str | int, ...], root: type[BaseModel]) -> list[str]:
    kinds: dict[str | int, type[BaseModel]] = {"pretrained": Pretrained, "custom": Custom}
    section = root
    for part in location:
        field = section.model_fields.get(str(part))
        if (
            field is not None
            and isinstance(field.annotation, type)
            and issubclass(field.annotation, BaseModel)
        ):
            section = field.annotation
        elif part in kinds:
            section = kinds[part]
    return [*section.model_fields, *((SEARCH,) if section is Recipe else ())]
