"""What validation teaches about the finished models: calibration.json, written before test is opened."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tumorboard import run_folder, storage
from tumorboard.errors import RunFolderError
from tumorboard.evaluation import out_of_distribution, selective_prediction
from tumorboard.evaluation.model_selection import recommend
from tumorboard.evaluation.out_of_distribution import OutOfDistribution
from tumorboard.evaluation.selective_prediction import Calibration
from tumorboard.models.model_spec import embedder
from tumorboard.run_folder import RunFolder
from tumorboard.workflows.run_context import Job

FORMAT = 1


def calibrate(job: Job) -> None:
    """Fit temperatures, prediction sets, thresholds, and for the recommended model what is unlike its data.

    A calibration that is written stays as it is.
    """
    if job.run.calibration.is_file():
        return
    valid = {name: job.predictions(name, "valid") for name in job.recipe.names}
    fitted = {name: selective_prediction.fit_calibration(one) for name, one in valid.items()}
    chosen = recommend(valid, job.manifest.groups).model
    fitted[chosen] = replace(fitted[chosen], ood_threshold=_unlike(job, chosen))
    write(job.run, fitted)


def write(run: RunFolder, fitted: Mapping[str, Calibration]) -> None:
    """Write calibration.json."""
    models = {name: one.to_json() for name, one in fitted.items()}
    storage.write_json(run.calibration, {"format": FORMAT, "models": models})


def read(run: RunFolder) -> dict[str, Calibration]:
    """By model; nothing if the run has none.

    Raises:
        RunFolderError: The file is damaged.
    """
    if not run.calibration.is_file():
        return {}
    try:
        content = json.loads(run.calibration.read_text("utf-8"))
        return {name: Calibration.from_json(one) for name, one in content["models"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunFolderError(
            f"expected what train wrote in {storage.shown(run.calibration)}, found other content; restore "
            "the file, or delete it and repeat the command"
        ) from error


def _unlike(job: Job, name: str) -> float | None:
    """Learn the training images' embeddings; the threshold, None with too few validation images for one."""
    from tumorboard.models import saving  # Keras, seconds to import
    from tumorboard.models.inference import probabilities as ask
    from tumorboard.models.model_spec import embedder

    if len(job.part("valid").samples) < 1 / out_of_distribution.FALSE_ALARM_RATE - 1:
        return None
    network = embedder(saving.load(job.run.model(name))[0])
    found = {}
    for split in ("train", "valid"):
        with job.console.task(f"{name}: embedding {split}") as update:
            images = job.images(split)
            found[split] = ask(network, images, lambda done, total: update(done, total, ""))
    fitted = out_of_distribution.fit(found["train"], job.part("train").labels)
    storage.write_bytes(job.run.unlike(name), fitted.to_bytes())
    return out_of_distribution.threshold(fitted.score(found["valid"]))


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
    training: OutOfDistribution | None = None
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
    fitted = read(run).get(name)
    if fitted is None:
        return Trust()
    _check(fitted, run)
    known = Trust(fitted.temperature, fitted.quantile, fitted.refer_below)
    if fitted.ood_threshold is None:
        return known
    file = run.unlike(name)
    run_folder.verify(file, hashes)
    training = OutOfDistribution.from_bytes(file.read_bytes(), storage.shown(file))
    return replace(known, unlike_above=fitted.ood_threshold, training=training, embedder=embedder(model))


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
