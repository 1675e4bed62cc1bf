"""The recipe: every setting that may change the result of a run, read from TOML and checked."""

import math
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from tumorboard import text_files
from tumorboard.errors import DataError, RecipeError, UsageError

Depth = Literal["auto", "stored", 8, 10, 12, 14, 16]
DEPTHS = tuple(depth for depth in get_args(Depth) if isinstance(depth, int))
"""Bits of grey that a data set may have."""

PRESETS = {"lung": (-600.0, 1500.0), "mediastinum": (40.0, 400.0)}
"""Centre and width in Hounsfield units, as commonly set for reading a chest CT."""


@dataclass(frozen=True, slots=True)
class Window:
    """A grey window: values from `center - width / 2` to `center + width / 2` become black to white.

    Args:
        name: As the user gave it.
        center: In the image's own units, after rescale.
        width: Likewise, above 0.
    """

    name: str
    center: float
    width: float

    @property
    def hounsfield(self) -> bool:
        """Whether it is a preset, which makes sense in Hounsfield units only."""
        return self.name in PRESETS


def parse_window(text: str) -> Window | None:
    """Read a window: "" for the one in each file, a preset's name, or "CENTER,WIDTH".

    Raises:
        ValueError: Neither of these, or a width that is not above 0.
    """
    if not text:
        return None
    if text in PRESETS:
        return Window(text, *PRESETS[text])
    try:
        center, width = (float(part) for part in text.split(","))
    except ValueError:
        center, width = math.nan, math.nan
    if not (math.isfinite(center) and math.isfinite(width) and width > 0):
        raise ValueError(f"expected {', '.join(PRESETS)} or CENTER,WIDTH with a width above 0")
    return Window(text, center, width)


def require_window(text: str) -> None:
    """Raise UsageError if the text is no DICOM window."""
    try:
        parse_window(text)
    except ValueError as error:
        raise UsageError(f"--window: {error}, found {text[:60]!r}") from error


FRAMES = ("refuse", "all", "middle")
Frames = Literal["refuse", "all", "middle"] | Annotated[int, Field(ge=1, le=10_000)]
"""Which slices of a volume are read: none, so that the file is an error; all; or so many, evenly spaced."""


def parse_frames(text: str) -> Frames:
    """Read --frames: a name of `FRAMES`, or a number from 1.

    Raises:
        UsageError: Neither of these.
    """
    try:
        return TypeAdapter[Frames](Frames).validate_python(int(text) if text.isdecimal() else text)
    except ValueError as error:
        raise UsageError(
            f"expected {', '.join(FRAMES)} or a number from 1 to 10,000 as --frames, found {text[:40]!r}"
        ) from error


Fraction = Annotated[float, Field(ge=0, lt=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class RecipeTable(BaseModel):
    """A table of a recipe, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Image(RecipeTable):
    """How an image becomes the network's input of (size, size, 3), uint8, 0-255.

    `window` is that of DICOM and of other grey of more than 8 bits: "" for the one in each file, "lung",
    "mediastinum" or "CENTER,WIDTH". `depth` is that of 16-bit grey without a window, where the file does not
    declare it: "auto" for the fewest bits that hold the largest value of the training images, which a run
    records; "stored" for all 16, whatever the file declares. `frames` are the slices of a volume that are
    images: "refuse" for none, "all", "middle" or how many, evenly spaced.
    """

    size: Annotated[int, Field(ge=32, le=1024)] = 224
    resize: Literal["stretch", "pad"] = "stretch"
    interpolation: Literal["bilinear", "bicubic", "lanczos", "box"] = "bilinear"
    window: str = ""
    depth: Depth = "auto"
    frames: Frames = "refuse"

    @field_validator("window")
    @classmethod
    def _is_a_window(cls, text: str) -> str:
        parse_window(text)
        return text


class Splitting(RecipeTable):
    """Sizes of the splits that the data lacks, as fractions of all images, and what they do not separate.

    Identical images, and groups that the data names, stay together always; with `keep_together` = "found"
    also near duplicates and groups that file names tell.
    """

    valid: Annotated[float, Field(gt=0, lt=0.5)] = 0.15
    test: Annotated[float, Field(gt=0, lt=0.5)] = 0.20
    keep_together: Literal["found", "given"] = "found"


class Augmentation(RecipeTable):
    """Random changes of training images; factors as in the Keras layers of the same names."""

    flip: Literal["none", "horizontal", "horizontal_and_vertical"] = "horizontal"
    rotation: Fraction = 0.2
    zoom: Fraction = 0.2
    translation: Fraction = 0.0
    contrast: Fraction = 0.0
    fill: Literal["reflect", "constant", "nearest"] = "reflect"


class Training(RecipeTable):
    """How a network is fitted.

    `views` = 0 augments on the fly; K > 0 computes the frozen layers once for K augmented views of every
    training image and fits the others on them; fewer where they would take more than `cache_gb` of disk, but
    at least one. `patience` = 0 trains to the last epoch and keeps it; `average` > 0 then keeps the moving
    average of the weights instead, with that momentum per update (0.99: about the last hundred).
    `balance` = "group" gives every group (patient) the same weight in the loss, however many images it has,
    and in the validation metrics that early stopping reads; with `class_weights` within the class weights.
    """

    epochs: Annotated[int, Field(ge=1)] = 100
    patience: Annotated[int, Field(ge=0)] = 20
    batch: Annotated[int, Field(ge=1)] = 32
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    schedule: Literal["constant", "one-cycle"] = "constant"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    label_smoothing: Fraction = 0.0
    class_weights: bool = False
    balance: Literal["image", "group"] = "image"
    views: Annotated[int, Field(ge=0, le=64)] = 0
    cache_gb: Annotated[float, Field(gt=0)] = 8.0
    average: Fraction = 0.0

    @model_validator(mode="after")
    def _averages_to_the_end(self) -> "Training":
        if self.average and self.patience:
            raise ValueError("average needs patience = 0: early stopping keeps one epoch's weights")
        return self


class Pretrained(RecipeTable):
    """A network on a pretrained backbone.

    `cut` names the last frozen stage of the backbone; "top" freezes all of it, "upper" all up to the stage
    that the backbone's own table chooses. `norms` "frozen" keeps the batch norms above the cut as they
    came, "trained" fits them too, "folded" merges all of the backbone's into its convolutions, which is the
    same network in half the time; `momentum` is that of the norms which are fitted. `depthwise` "frozen"
    keeps the depthwise convolutions above the cut, whose gradients take longest on a CPU. `preprocessing`
    "own" is what the backbone was trained with; "unit" divides by 255, as the original study did. `head`
    "dense" trains `units` hidden units and a softmax layer in epochs; "lda" is a softmax layer alone, fitted
    to the views of a frozen backbone by linear discriminant analysis, without epochs.
    """

    kind: Literal["pretrained"] = "pretrained"
    backbone: str = "efficientnet-lite0"
    weights: str = "imagenet"
    preprocessing: Literal["own", "unit"] = "own"
    cut: str = "top"
    norms: Literal["folded", "frozen", "trained"] = "trained"
    depthwise: Literal["frozen", "trained"] = "trained"
    momentum: Fraction = 0.99
    pooling: Literal["max", "average"] = "max"
    head: Literal["dense", "lda"] = "dense"
    units: Annotated[int, Field(ge=1)] = 256
    dropout: Fraction = 0.25
    augmentation: Augmentation = Augmentation()
    training: Training = Training()

    @model_validator(mode="after")
    def _can_be_fitted_in_closed_form(self) -> "Pretrained":
        training = self.training
        if self.head == "lda" and (
            self.cut != "top" or not training.views or training.class_weights or training.balance == "group"
        ):
            raise ValueError(
                'head = "lda" needs cut = "top" and training.views above 0, and cannot weight rows: '
                'training.class_weights = false, balance = "image"'
            )
        return self


class Custom(RecipeTable):
    """A network trained from scratch: the study's own (`notebook`), or a small residual one.

    `mirrored` = true predicts the mean over an image and its mirror image, which takes twice the time.
    """

    kind: Literal["custom"] = "custom"
    design: Literal["notebook", "residual"] = "residual"
    mirrored: bool = False
    dropout: Fraction = 0.25
    augmentation: Augmentation = Augmentation()
    training: Training = Training()


class Ensemble(RecipeTable):
    """How the members' class probabilities are combined.

    `mean` averages them; `weighted` averages with weights chosen on validation; `greedy` with weights from
    greedy selection with replacement (Caruana et al. 2004); `vote` is the majority vote; `stacked` fits a
    softmax layer on the concatenated probabilities of validation images; `boosted` fits a sequence of softmax
    layers on the members' embeddings of validation images (SAMME); `mirrored` is the mean over every image
    and its mirror image; `mean_dense` and `concat_dense` train a Dense layer on the averaged and on the
    concatenated probabilities of train. `weights` fixes the weights of an average, one per member, instead of
    choosing them on validation.
    """

    members: Annotated[tuple[str, ...], Field(min_length=2)] = ("pretrained", "custom")
    form: Literal[
        "mean", "weighted", "greedy", "vote", "stacked", "boosted", "mirrored", "mean_dense", "concat_dense"
    ] = "weighted"
    weights: tuple[Annotated[float, Field(ge=0)], ...] = ()
    training: Training = Training()


class Chained(RecipeTable):
    """A second network on the first one's embedding.

    `others` names further models whose embeddings are joined to the first one's. `start` "fresh" begins with
    new heads, as the study did; "trained" begins from the trained links; "kept" has these as they are,
    and only the second network learns.
    """

    first: str = "pretrained"
    others: tuple[str, ...] = ()
    start: Literal["fresh", "trained", "kept"] = "trained"
    units: Annotated[int, Field(ge=1)] = 256
    dropout: Fraction = 0.25
    training: Training = Training()


Network = Annotated[Pretrained | Custom, Field(discriminator="kind")]


SEARCH = "search"
"""The table of a recipe file that only tuning reads."""


class Recipe(RecipeTable):
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
        reserved = {"ensemble", "chained", "all"} & set(self.models)
        if reserved:
            raise ValueError(f"models may not be named {sorted(reserved)}")
        links = (self.chained.first, *self.chained.others)
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
        """Names of all models, in the order in which they are made."""
        return (*self.models, "ensemble", "chained")

    def dependencies(self, model: str) -> tuple[str, ...]:
        """Name the models that must be made before this one: an ensemble's members, a chain's links."""
        links = (self.chained.first, *self.chained.others)
        return {"ensemble": self.ensemble.members, "chained": links}.get(model, ())

    def training(self, name: str) -> Training:
        """Return how a model is fitted, which may be the ensemble or the chain."""
        parts = {**self.models, "ensemble": self.ensemble, "chained": self.chained}
        return parts[name].training

    def with_options(
        self,
        backbone: str | None,
        weights: str | None,
        seed: int | None,
        window: str | None = None,
        keep_together: str | None = None,
        frames: Frames | None = None,
    ) -> "Recipe":
        """Apply options of the command line, to all pretrained models, to the images and to new splits."""
        chosen = {"backbone": backbone, "weights": weights}
        content = self.model_dump(mode="json")
        for network in content["models"].values():
            if network["kind"] == "pretrained":
                network |= {key: value for key, value in chosen.items() if value is not None}
        content["image"] |= {} if window is None else {"window": window}
        content["image"] |= {} if frames is None else {"frames": frames}
        content["splitting"] |= {} if keep_together is None else {"keep_together": keep_together}
        return parse(tomli_w.dumps({**content, "seed": self.seed if seed is None else seed}), self.name)

    def for_workers(self) -> "Recipe":
        """Return the settings for workers on other machines: the bits depend on the number of threads."""
        return self.model_copy(update={"threads": self.threads or 1})


def load(name_or_file: str) -> Recipe:
    """Read a recipe that comes with the package, by name, or one of the user's, by path.

    Raises:
        RecipeError: No such recipe, not TOML, an unknown key, or a value out of range.
    """
    return parse(*read(name_or_file))


def read(name_or_file: str) -> tuple[str, str]:
    """Read the text of a recipe, and a name for it in errors.

    Raises:
        RecipeError: No such recipe.
    """
    shipped = resources.files("tumorboard") / "recipes"
    known = sorted(
        file.name.removesuffix(".toml") for file in shipped.iterdir() if file.name.endswith(".toml")
    )
    if name_or_file in known:
        return (shipped / f"{name_or_file}.toml").read_text(encoding="utf-8"), name_or_file
    path = Path(name_or_file)
    try:
        return text_files.read_text(path), str(path)[-80:]
    except DataError as error:
        expected = f"a recipe ({', '.join(known)}) or a TOML file"
        raise RecipeError(f"expected {expected}, found neither at {name_or_file[-80:]!r}: {error}") from error


def parse(text: str, source: str) -> Recipe:
    """Read a recipe from TOML text; `source` is named in errors. A search space in it is left unread.

    Raises:
        RecipeError: Not TOML, an unknown key, or a value out of range.
    """
    try:
        content = tomllib.loads(text)
        return Recipe.model_validate({key: value for key, value in content.items() if key != SEARCH})
    except ValidationError as error:
        lines = [_validation_message(details) for details in error.errors()]
        raise RecipeError(f"{source}: {lines[0]}", lines[1:]) from error
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits, nested brackets
        raise RecipeError(f"{source} is not valid TOML: {error}") from error


def dump(recipe: Recipe) -> str:
    """Write the recipe as TOML with every setting, so that a later default changes nothing."""
    return tomli_w.dumps(recipe.model_dump(mode="json"))


def _validation_message(error: Any) -> str:
    """One pydantic error as one line; an unknown key lists the known ones."""
    where = ".".join(str(part) for part in error["loc"]) or "recipe"
    if error["type"] == "extra_forbidden":
        kinds: dict[str | int, type[BaseModel]] = {"pretrained": Pretrained, "custom": Custom}
        section: type[BaseModel] = Recipe
        for part in error["loc"][:-1]:
            field = section.model_fields.get(str(part))
            if (
                field is not None
                and isinstance(field.annotation, type)
                and issubclass(field.annotation, BaseModel)
            ):
                section = field.annotation
            elif part in kinds:
                section = kinds[part]
        known = [*section.model_fields, *((SEARCH,) if section is Recipe else ())]
        return f"unknown key {where!r}; known here: {', '.join(known)}"
    if error["type"] == "missing":
        return f"expected the key {where!r}, found none; see docs/recipes.md"
    content = error["input"] if not isinstance(error["input"], dict) else "a table"
    return f"{where}: {error['msg'].removeprefix('Value error, ')[:150]} (found {repr(content)[:60]})"
