"""How far an answer may be trusted: calibration.json of a run, read and applied."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from tumorboard import storage
from tumorboard.data.modes import Pixels
from tumorboard.errors import RunFolderError
from tumorboard.evaluation.unlike import Unlike
from tumorboard.models import checksums
from tumorboard.models.embedding import embedder
from tumorboard.runfolder import RunFolder


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

    def is_unlike(self, pixels: Pixels) -> bool | None:
        """Whether an image, uint8 (S, S, 3), is unlike the training images."""
        if self.training is None or self.embedder is None or self.unlike_above is None:
            return None
        score = self.training.score(self.embedder.predict_on_batch(pixels[None]))[0]
        return bool(score > self.unlike_above)


def read_trust(run: RunFolder, name: str, model: keras.Model, hashes: dict[str, str]) -> Trust:
    """What calibration.json says of a model; nothing where there is no such file.

    Raises:
        RunFolderError: The file is damaged.
        ModelError: What is known of the training images is not what was written.
    """
    path = run.calibration
    if not path.is_file():
        return Trust()
    try:
        found = read_json(path)["models"][name]
        numbers = found["temperature"], found["conformal"]["quantile"], found["refer_below"]
        temperature, quantile, refer_below = (None if n is None else float(n) for n in numbers)
        threshold = None if found["unlike"] is None else float(found["unlike"]["threshold"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunFolderError(
            f"expected the calibration of {name!r} in {storage.shown(path)}, found none that can be read; "
            "restore the file, or delete it to do without"
        ) from error
    if threshold is None:
        return Trust(temperature, quantile, refer_below)
    file = run.unlike(name)
    checksums.verify(file, hashes)
    training = Unlike.from_bytes(file.read_bytes(), storage.shown(file))
    return Trust(temperature, quantile, refer_below, threshold, training, embedder(model))


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
