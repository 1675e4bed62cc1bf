"""How far an answer may be trusted: calibration.json of a run, read and applied."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tumorboard import storage
from tumorboard.errors import RunFolderError
from tumorboard.evaluation.trusting import Calibration
from tumorboard.evaluation.unlike import Unlike
from tumorboard.models import checksums
from tumorboard.models.embedding import embedder
from tumorboard.pipeline import calibrate
from tumorboard.runfolder import RunFolder

Embedding = npt.NDArray[np.float32]
_ONE = 1 + 1e-6  # rounding


@dataclass(frozen=True)
class Trust:
    """What validation taught about one model; None where the run has no calibration of that kind.

    Attributes:
        temperature: Its probabilities are tempered with this, > 0.
        quantile: The largest 1 - p that a class in a prediction set may have.
        refer_below: With less confidence than this the board would rather ask a human.
        unlike_above: An image of a larger score is unlike the training images.
        training: What is known of these.
        embedder: Image -> the vector that the score is computed from.
    """

    temperature: float | None = None
    quantile: float | None = None
    refer_below: float | None = None
    unlike_above: float | None = None
    training: Unlike | None = None
    embedder: keras.Model | None = None

    def is_unlike(self, embedding: Embedding | None) -> bool | None:
        """Whether the image of an embedding, (1, D), is unlike the training images."""
        if self.training is None or self.unlike_above is None or embedding is None:
            return None
        return bool(self.training.score(embedding)[0] > self.unlike_above)


def read_trust(run: RunFolder, name: str, model: keras.Model, hashes: dict[str, str]) -> Trust:
    """What calibration.json says of a model; nothing where there is no such file.

    Raises:
        RunFolderError: The file is damaged.
        ModelError: What is known of the training images is not what was written.
    """
    fitted = calibrate.read(run).get(name)
    if fitted is None:
        return Trust()
    _check(fitted, run)
    known = Trust(fitted.temperature, fitted.quantile, fitted.refer_below)
    if fitted.unlike is None:
        return known
    file = run.unlike(name)
    checksums.verify(file, hashes)
    training = Unlike.from_bytes(file.read_bytes(), storage.shown(file))
    return replace(known, unlike_above=fitted.unlike, training=training, embedder=embedder(model))


def _check(fitted: Calibration, run: RunFolder) -> None:
    """No hash protects this file, and a wrong number would turn answers round without a word."""
    shares = [one for one in (fitted.quantile, fitted.refer_below) if one is not None]
    if not 0 < fitted.temperature < math.inf or any(not 0 <= one <= _ONE for one in shares):
        raise RunFolderError(
            f"expected a temperature above 0 and shares from 0 to 1 in {storage.shown(run.calibration)}, "
            "found others; restore the file, or delete it to do without"
        )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        RunFolderError: The file is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunFolderError(
            f"expected JSON in {storage.shown(path)}, found none that can be read; restore the file"
        ) from error
    return content if isinstance(content, dict) else {}
