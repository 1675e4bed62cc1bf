"""Choose on validation, before test is opened: calibration.json, patients.json."""

from collections.abc import Mapping
from dataclasses import asdict, replace

from tumorboard import storage
from tumorboard.evaluation import out_of_distribution, patients, selective_prediction
from tumorboard.evaluation.calibration import scale_predictions
from tumorboard.evaluation.model_selection import recommend
from tumorboard.evaluation.patients import PatientRule
from tumorboard.evaluation.selective_prediction import Calibration
from tumorboard.predictions import Predictions
from tumorboard.run_folder import RunFolder, read_json, reading
from tumorboard.workflows.run_context import RunContext

FORMAT_VERSION = 1


def calibrate(context: RunContext) -> None:
    """Fit temperatures, prediction sets, referral thresholds and the rules per patient of all models.

    For the recommended model also the detector of images that are out of distribution. A calibration that
    is written stays as it is.
    """
    if context.run.calibration.is_file():
        return
    valid = {name: context.predictions(name, "valid") for name in context.recipe.names}
    fitted = {name: selective_prediction.fit_calibration(predictions) for name, predictions in valid.items()}
    write_patient_rules(context.run, valid, fitted, context.manifest.groups)
    chosen = recommend(valid, context.manifest.groups).model
    fitted[chosen] = replace(fitted[chosen], ood_threshold=_fit_outlier_detector(context, chosen))
    write(context.run, fitted)


def write(run: RunFolder, fitted: Mapping[str, Calibration]) -> None:
    """Write calibration.json."""
    models = {name: calibration.to_json() for name, calibration in fitted.items()}
    storage.write_json(run.calibration, {"format": FORMAT_VERSION, "models": models})


def read(run: RunFolder) -> dict[str, Calibration]:
    """Read calibration.json, by model; empty if the run has none.

    Raises:
        RunFolderError: The file is damaged.
    """
    if not run.calibration.is_file():
        return {}
    content = read_json(run.calibration)
    with reading(run.calibration):
        return {name: Calibration.from_json(values) for name, values in content["models"].items()}


def write_patient_rules(
    run: RunFolder,
    valid: Mapping[str, Predictions],
    fitted: Mapping[str, Calibration],
    groups: Mapping[str, str],
) -> None:
    """Choose how each model's calibrated predictions of a patient's images are combined: patients.json.

    Args:
        run: The run folder.
        valid: By model, its predictions of the validation images.
        fitted: Their calibrations.
        groups: Group by image id, of images that have one.
    """
    scaled = {name: scale_predictions(each, fitted[name].temperature) for name, each in valid.items()}
    rules = {name: asdict(patients.choose(predictions, groups)) for name, predictions in scaled.items()}
    storage.write_json(run.patients, rules)


def read_patient_rules(run: RunFolder) -> dict[str, PatientRule]:
    """Read patients.json, by model; empty if the run has none.

    Raises:
        RunFolderError: The file is damaged.
    """
    if not run.patients.is_file():
        return {}
    content = read_json(run.patients)
    with reading(run.patients):
        rules = {name: PatientRule(**values) for name, values in content.items()}
        if unknown := {rule.method for rule in rules.values()} - set(patients.METHODS):
            raise ValueError(unknown)
        return rules


def _fit_outlier_detector(context: RunContext, name: str) -> float | None:
    """Fit the detector on train; return its threshold from validation, None if there are too few images."""
    from tumorboard.models import saving  # Keras, seconds to import
    from tumorboard.models.inference import probabilities
    from tumorboard.models.model_spec import embedding_model

    if len(context.manifest.select("valid").samples) < 1 / out_of_distribution.FALSE_ALARM_RATE - 1:
        return None
    network = embedding_model(saving.load(context.run.model(name))[0])
    embeddings = {}
    for split in ("train", "valid"):
        with context.console.task(f"calibration: embedding {split}") as update:
            images = context.images(split)
            embeddings[split] = probabilities(network, images, update)
    detector = out_of_distribution.fit(embeddings["train"], context.manifest.select("train").labels)
    storage.write_bytes(context.run.out_of_distribution(name), detector.to_bytes())
    return out_of_distribution.threshold(detector.score(embeddings["valid"]))
