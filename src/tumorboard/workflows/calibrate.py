"""Choose on validation, before test is opened: calibration.json, patients.json."""

from collections.abc import Mapping
from dataclasses import asdict, replace

from tumorboard import storage
from tumorboard.evaluation import out_of_distribution, patients, selective_prediction
from tumorboard.evaluation.model_selection import recommend
from tumorboard.evaluation.patients import PatientRule
from tumorboard.evaluation.selective_prediction import Calibration
from tumorboard.predictions import Predictions
from tumorboard.run_folder import RunFolder, read_json, reading
from tumorboard.workflows.run_context import RunContext

FORMAT_VERSION = 1
_LARGEST_SHARE = 1 + 1e-6  # rounding


def calibrate(context: RunContext) -> None:
    """Fit temperatures, prediction sets, referral thresholds and the rules per patient of all models.

    For the recommended model also the detector of images that are out of distribution. A calibration that
    is written stays as it is.
    """
    if context.run.calibration.is_file():
        return
    valid = {name: context.predictions(name, "valid") for name in context.recipe.names}
    groups = context.manifest.groups
    fitted = {name: selective_prediction.fit_calibration(each, groups) for name, each in valid.items()}
    write_patient_rules(context.run, valid, fitted, groups)
    chosen = recommend(valid, groups).model
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


def are_shares(*values: float | None) -> bool:
    """Check that numbers, where they are known, are from 0 to 1."""
    return all(value is None or 0 <= value <= _LARGEST_SHARE for value in values)


def write_patient_rules(
    run: RunFolder,
    valid: Mapping[str, Predictions],
    fitted: Mapping[str, Calibration],
    groups: Mapping[str, str],
) -> None:
    """Choose how each model's predictions of a patient's images are combined and calibrated: patients.json.

    Args:
        run: The run folder.
        valid: By model, its predictions of the validation images.
        fitted: Their calibrations.
        groups: Group by image id, of images that have one.
    """
    rules = {name: patients.fit_rule(each, groups, fitted[name].temperature) for name, each in valid.items()}
    storage.write_json(run.patients, {name: asdict(rule) for name, rule in rules.items()})


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
        for rule in rules.values():
            usable = rule.method in patients.METHODS and are_shares(rule.quantile, rule.refer_below)
            if not (usable and type(rule.n) is int and rule.n >= 0 and 0 < rule.alpha < 1):
                raise ValueError(rule)
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
