"""What validation teaches about the finished models: calibration.json, written before test is opened."""

import json
from collections.abc import Mapping
from dataclasses import replace

from tumorboard import storage
from tumorboard.errors import RunFolderError
from tumorboard.evaluation import trusting, unlike
from tumorboard.evaluation.study import recommend
from tumorboard.evaluation.trusting import Calibration
from tumorboard.pipeline.job import Job
from tumorboard.runfolder import RunFolder

FORMAT = 1


def calibrate(job: Job) -> None:
    """Fit temperatures, prediction sets, thresholds, and for the recommended model what is unlike its data.

    A calibration that is written stays as it is.
    """
    if job.run.calibration.is_file():
        return
    valid = {name: job.predictions(name, "valid") for name in job.recipe.names}
    fitted = {name: trusting.fit(one) for name, one in valid.items()}
    chosen = recommend(valid, job.manifest.groups).model
    fitted[chosen] = replace(fitted[chosen], unlike=_unlike(job, chosen))
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
    from tumorboard.models import storing  # Keras, seconds to import
    from tumorboard.models.embedding import embedder
    from tumorboard.models.predicting import probabilities as ask

    if len(job.part("valid").samples) < 1 / unlike.FALSE_ALARMS - 1:
        return None
    network = embedder(storing.load(job.run.model(name))[0])
    found = {}
    for split in ("train", "valid"):
        with job.console.task(f"{name}: embedding {split}") as progress:
            images = job.images(split)
            found[split] = ask(network, images, lambda done, total: progress(done, total, ""))
    fitted = unlike.fit(found["train"], job.part("train").labels)
    storage.write_bytes(job.run.unlike(name), fitted.to_bytes())
    return unlike.threshold(fitted.score(found["valid"]))
