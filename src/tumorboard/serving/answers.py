"""The JSON that the API answers, and how an opinion of the board becomes it."""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, Field

from tumorboard import NOTICE, __version__
from tumorboard.serving import words
from tumorboard.serving.board import Board, Opinion
from tumorboard.serving.decoding import Upload
from tumorboard.serving.facts import ModelFacts
from tumorboard.serving.pictures import png


class Problem(BaseModel):
    """Every error, whatever its status."""

    detail: str = Field(description="one line: what was expected, what was found, what to do")


class Limits(BaseModel):
    """What is refused."""

    bytes: int = Field(description="a larger file is answered 413")
    pixels: int = Field(description="an image of more is answered 422")


class About(BaseModel):
    """The run that answers."""

    notice: str = NOTICE
    version: str = __version__
    class_names: list[str]
    recommended: str = Field(description="the model whose answer is the board's")
    models: list[ModelFacts]
    window: str = Field(
        description='the window of DICOM that the models were trained with, "" for each file\'s'
    )
    windows: list[str] = Field(description="presets; CENTER,WIDTH is taken too")
    limits: Limits
    report: bool = Field(description="whether /report shows the run's report")


class ModelOpinion(BaseModel):
    """What one model says."""

    name: str
    says: str
    probabilities: dict[str, float]


class Joint(BaseModel):
    """The board's answer: the recommended model's, calibrated on validation."""

    says: str
    confidence: float = Field(description="calibrated where the run has a calibration, 0-1")
    calibrated: bool
    possible: list[str] | None = Field(description="the prediction set; null where the run has none")
    ask_a_human: bool | None = Field(description="the board abstains; null where the run has no threshold")
    unlike_training: bool | None = Field(description="null where the run cannot tell")


class Answer(BaseModel):
    """What the board makes of one image."""

    notice: str = NOTICE
    joint: Joint
    models: list[ModelOpinion]
    words: list[str] = Field(description="the answer in plain words")
    notes: list[str] = Field(description="what to know about the file")
    dicom: bool
    preview: str = Field(description="base64 PNG of what the models were given")


class HeatMap(BaseModel):
    """Where a model looked."""

    notice: str = NOTICE
    model: str
    target: str = Field(description="the class that the map explains")
    empty: bool = Field(description="nothing speaks for the class, or the answer has no slope, as a vote")
    layer: str = Field(description="base64 PNG with transparency, to lay over the preview")
    preview: str = Field(description="base64 PNG of what the models were given")


def answer(board: Board, upload: Upload, opinion: Opinion, notes: tuple[str, ...] = ()) -> Answer:
    """The opinion as JSON."""
    names = board.class_names
    models = [_model(name, row, names) for name, row in opinion.probabilities.items()]
    joint = _joint(board, opinion)
    said = [words.UNLIKE] if joint.unlike_training else []
    said += [words.NO_ANSWER] if joint.ask_a_human else []
    said += [words.agreement({one.name: one.says for one in models})]
    said += [words.possible(joint.possible)] if joint.possible is not None else []
    return Answer(
        joint=joint,
        models=models,
        words=said,
        notes=[*upload.notes, *notes],
        dicom=upload.dicom,
        preview=png(upload.pixels),
    )


def _model(name: str, row: np.ndarray, class_names: Sequence[str]) -> ModelOpinion:
    probabilities = {one: float(value) for one, value in zip(class_names, row, strict=True)}
    return ModelOpinion(name=name, says=class_names[int(row.argmax())], probabilities=probabilities)


def _joint(board: Board, opinion: Opinion) -> Joint:
    row = opinion.probabilities[board.recommended] if opinion.calibrated is None else opinion.calibrated
    possible = opinion.possible
    return Joint(
        says=board.class_names[int(row.argmax())],
        confidence=float(row.max()),
        calibrated=opinion.calibrated is not None,
        possible=None
        if possible is None
        else [one for one, may_be in zip(board.class_names, possible, strict=True) if may_be],
        ask_a_human=opinion.abstains,
        unlike_training=opinion.unlike,
    )
