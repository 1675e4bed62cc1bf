"""The parts of a recipe, each a table of settings: frozen, validated, every one with a default."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tumorboard import windows

Fraction = Annotated[float, Field(ge=0, lt=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Section(BaseModel):
    """A table that takes no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Image(Section):
    """How a decoded image becomes the network's input of (size, size, 3), uint8, 0-255.

    `window` is of DICOM only: "" for the one in each file, "lung", "mediastinum" or "CENTER,WIDTH".
    """

    size: Annotated[int, Field(ge=32, le=1024)] = 224
    resize: Literal["stretch", "pad"] = "stretch"
    interpolation: Literal["bilinear", "bicubic", "lanczos", "box"] = "bilinear"
    window: str = ""

    @field_validator("window")
    @classmethod
    def _is_a_window(cls, text: str) -> str:
        windows.parse(text)
        return text


class Splitting(Section):
    """What is split off train when the data has no valid or test part, as fractions of all images."""

    valid: Annotated[float, Field(gt=0, lt=0.5)] = 0.15
    test: Annotated[float, Field(gt=0, lt=0.5)] = 0.20


class Augmentation(Section):
    """Random changes of training images; factors as in the Keras layers of the same names."""

    flip: Literal["none", "horizontal", "horizontal_and_vertical"] = "horizontal"
    rotation: Fraction = 0.2
    zoom: Fraction = 0.2
    translation: Fraction = 0.0
    contrast: Fraction = 0.0
    fill: Literal["reflect", "constant", "nearest"] = "reflect"


class Training(Section):
    """How a network is fitted.

    `views` = 0 augments on the fly; K > 0 computes what is frozen once for K augmented views of every
    training image and fits the rest on them; fewer where they would take more than `cache_gb` of disk, but
    at least one. `patience` = 0 trains to the last epoch and keeps it; `average` > 0 then keeps the moving
    average of the weights instead, of that momentum an update (0.99: of about the last hundred).
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
    views: Annotated[int, Field(ge=0, le=64)] = 0
    cache_gb: Annotated[float, Field(gt=0)] = 8.0
    average: Fraction = 0.0

    @model_validator(mode="after")
    def _averages_to_the_end(self) -> "Training":
        if self.average and self.patience:
            raise ValueError("average needs patience = 0: early stopping keeps one epoch's weights")
        return self


class Pretrained(Section):
    """A network on a pretrained backbone.

    `cut` names the last frozen stage of the backbone; "top" freezes all of it, "upper" all up to the stage
    that the backbone's own table chooses. `norms` "frozen" keeps the batch norms above the cut as they
    came, "trained" fits them too, "folded" merges all of the backbone's into its convolutions, which is the
    same network in half the time; `momentum` is that of the norms which are fitted. `depthwise` "frozen"
    keeps the depthwise convolutions above the cut, whose gradients take longest on a CPU. `preprocessing`
    "own" is what the backbone was trained with; "unit" divides by 255, as the original study did.
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
    units: Annotated[int, Field(ge=1)] = 256
    dropout: Fraction = 0.25
    augmentation: Augmentation = Augmentation()
    training: Training = Training()


class Custom(Section):
    """A network trained from scratch: the study's own (`notebook`), or a small residual one.

    `mirrored` = true answers the mean over an image and its mirror image, which takes twice the time.
    """

    kind: Literal["custom"] = "custom"
    design: Literal["notebook", "residual"] = "residual"
    mirrored: bool = False
    dropout: Fraction = 0.25
    augmentation: Augmentation = Augmentation()
    training: Training = Training()


class Ensemble(Section):
    """How members' class probabilities become one answer.

    Forms A to D are the study's: A averages and then trains a Dense layer, B averages, C is A as a
    two-input model, D trains a Dense layer on the concatenation. `weighted` chooses the weights of the
    average on validation, `greedy` draws members with replacement (Caruana et al. 2004), `stacked` is D
    fitted on validation instead of train; `boosted` trains heads on the members' embeddings of validation
    images in sequence (SAMME); `vote` is the majority vote; `mirrored` is B over every image and its mirror
    image. `weights` fixes those of an average, one a member, instead of choosing them on validation.
    """

    members: Annotated[tuple[str, ...], Field(min_length=2)] = ("pretrained", "custom")
    form: Literal["A", "B", "C", "D", "weighted", "greedy", "vote", "stacked", "boosted", "mirrored"] = (
        "weighted"
    )
    weights: tuple[Annotated[float, Field(ge=0)], ...] = ()
    training: Training = Training()


class Chained(Section):
    """A second network on the first one's embedding.

    `also` names further models whose embeddings are joined to the first one's. `start` "fresh" begins with
    new heads, as the study did; "trained" begins from the trained links; "kept" has these as they are,
    and only the second network learns.
    """

    first: str = "pretrained"
    also: tuple[str, ...] = ()
    start: Literal["fresh", "trained", "kept"] = "trained"
    units: Annotated[int, Field(ge=1)] = 256
    dropout: Fraction = 0.25
    training: Training = Training()


Network = Annotated[Pretrained | Custom, Field(discriminator="kind")]
