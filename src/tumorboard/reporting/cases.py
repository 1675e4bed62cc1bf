"""Which test images a person should look at, and small pictures of them."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tumorboard import config
from tumorboard.data.image_reader import read_image, to_input
from tumorboard.errors import DataError
from tumorboard.evaluation.error_agreement import disagreement
from tumorboard.predictions import Predictions

SHOWN = 8
_RULE = config.Image(size=160, resize="pad")


@dataclass(frozen=True)
class Picture:
    """A small picture of a case, such as the image or a map over it; `jpeg` holds the file's bytes."""

    caption: str
    jpeg: bytes


def surest_errors(one: Predictions) -> list[int]:
    """Rows of the wrong answers, those given with the highest probability first; at most `SHOWN`."""
    wrong = np.flatnonzero(one.predicted != one.labels)
    sureness = one.probabilities.max(axis=1)[wrong]
    return [int(row) for row in wrong[np.argsort(-sureness, kind="stable")][:SHOWN]]


def surest_right(one: Predictions) -> list[int]:
    """Of each class that has one, the row of the right answer given with the highest probability."""
    right, sureness = one.predicted == one.labels, one.probabilities.max(axis=1, initial=0)
    rows = [np.flatnonzero(right & (one.labels == c)) for c in range(len(one.class_names))]
    return [int(found[sureness[found].argmax()]) for found in rows if len(found)][:SHOWN]


def most_disputed(models: Mapping[str, Predictions]) -> list[int]:
    """Rows, in the first model's order, on which the models' answers differ, the most divided first."""
    first = next(iter(models.values()))
    position = [{sample: row for row, sample in enumerate(one.ids)} for one in models.values()]
    answers = np.stack(
        [
            one.predicted[[where[i] for i in first.ids]]
            for one, where in zip(models.values(), position, strict=True)
        ]
    )
    divided = np.flatnonzero((answers != answers[0]).any(axis=0))
    spread = disagreement(models)[divided]
    return [int(row) for row in divided[np.argsort(-spread, kind="stable")][:SHOWN]]


def pictures(ids: Sequence[str], paths: Mapping[str, Path], window: str) -> dict[str, list[Picture]]:
    """By id a small picture of each image that can still be read; the others are left out.

    Args:
        ids: The images wanted.
        paths: Where the files are, or were when the study was made.
        window: Of DICOM images.
    """
    found = {}
    for name in ids:
        try:
            pixels = to_input(read_image(paths[name], window=window).pixels, _RULE)
        except DataError:  # moved or deleted since; the report says so in its place
            continue
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=85)  # written anew: no header of the original
        found[name] = [Picture("image", file.getvalue())]
    return found
