"""A made-up study to report on."""

import numpy as np

from tumorboard.evaluation.baselines import baselines
from tumorboard.predictions import Predictions
from tumorboard.reporting.study import Facts, Study

CLASS_NAMES = ("adenocarcinoma", "normal", "squamous")
COUNTS = {"train": (30, 20, 10), "valid": (8, 4, 0), "test": (10, 6, 5)}


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


def facts(**changes):
    made = {
        "recipe": "default",
        "seed": 3,
        "command": "tumorboard train DATA --out RUN --seed 3",
        "backend": "tensorflow",
        "versions": {"keras": "3.15.1"},
        "seconds": {"training pretrained": 61.25},
    }
    return Facts(**(made | changes))


def study(class_names=CLASS_NAMES, names=("pretrained", "custom"), test_seed=0, **changes):
    models = {
        name: {s: predicted(s, 3 - i, class_names, test_seed if s == "test" else 0) for s in COUNTS}
        for i, name in enumerate(names)
    }
    return Study(models, baselines(models[names[0]]), facts(**changes))
