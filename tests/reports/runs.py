"""A made-up run to report on."""

import functools
from dataclasses import replace

import numpy as np

from tumorboard.evaluation.patients import fit_rule
from tumorboard.evaluation.selective_prediction import fit_calibration
from tumorboard.predictions import Predictions
from tumorboard.reports.run_results import Provenance, score_run

CLASS_NAMES = ("adenocarcinoma", "normal", "squamous")
COUNTS = {"train": (30, 20, 10), "valid": (8, 4, 0), "test": (10, 6, 5)}
HISTORY = [
    {"epoch": e, "loss": 1 / e, "accuracy": 0.5, "val_loss": 2 / e, "val_accuracy": 0.4} for e in (1, 2)
]


def predicted(split, skill, class_names=CLASS_NAMES, seed=0):
    """Predictions that get better with `skill`; validation lacks the last class."""
    random = np.random.default_rng([seed, len(split), int(10 * skill)])
    labels = np.repeat(range(len(class_names)), COUNTS[split])
    logits = random.normal(size=(len(labels), len(class_names)))
    logits[np.arange(len(labels)), labels] += skill
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Predictions(
        tuple(f"{split}/{i}.png" for i in range(len(labels))), labels, class_names, probabilities
    )


def all_predictions(class_names=CLASS_NAMES, names=("pretrained", "custom"), test_seed=0):
    """By model and split."""
    return {
        name: {s: predicted(s, 3 - i, class_names, test_seed if s == "test" else 0) for s in COUNTS}
        for i, name in enumerate(names)
    }


def provenance(**changes):
    environment = {
        "python": "3",
        "keras": "3.15.1",
        "backend": "tensorflow",
        "command": "tumorboard train DATA --out RUN --seed 3",
    }
    made = {
        "recipe": "default",
        "seed": 3,
        "settings": "seed = 3\n",
        "environment": environment | changes.pop("environment", {}),
        "test_scorings": 1,
        "histories": {"custom": HISTORY},
        "best_epochs": {"custom": 2},
        "seconds": {"training pretrained": 61.25},
    }
    return Provenance(**(made | changes))


def run_results(
    class_names=CLASS_NAMES,
    names=("pretrained", "custom"),
    test_seed=0,
    findings=(),
    subsets=None,
    calibrated=False,
    patients=0,
    **changes,
):
    """A made-up run; of this share of its images three of a class are of one patient."""
    scored = _scored(tuple(class_names), tuple(names), test_seed, calibrated, patients=patients)
    if subsets:
        scored = _scored.__wrapped__(tuple(class_names), tuple(names), test_seed, calibrated, subsets)
    return replace(scored, findings=tuple(findings), provenance=provenance(**changes))


@functools.cache
def _scored(class_names, names, test_seed, calibrated, subsets=None, patients=0):
    """The numbers, whose intervals take time, are those of the predictions alone."""
    predictions = all_predictions(class_names, names, test_seed)
    fitted = {name: fit_calibration(one["valid"]) for name, one in predictions.items()} if calibrated else {}
    groups = {}
    for split in COUNTS:
        first = predictions[names[0]][split]
        labels = first.labels.tolist()
        groups |= {
            name: f"{split}-{labels[i]}-{i // 3}"
            for i, name in enumerate(first.ids[: round(len(labels) * patients)])
        }
    temperatures = {name: one.temperature for name, one in fitted.items()}
    rules = {
        name: fit_rule(one["valid"], groups, temperatures.get(name, 1.0)) for name, one in predictions.items()
    }
    return score_run(
        predictions,
        provenance(),
        subsets=subsets or {},
        calibrations=fitted,
        groups=groups,
        patient_rules=rules,
    )
