"""Combine the predictions of a patient's images into one per patient.

A case is a group (patient), or an image that belongs to none. Its class is that of its images. A patient with
images of two classes is positive if one class of two means "nothing found", as normal and benign do, and any
image is of the other; elsewhere such a patient counts as one case per class, of the images of that class.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tumorboard.data.manifest import FOUND_GROUP
from tumorboard.errors import plural
from tumorboard.evaluation import conformal, metrics
from tumorboard.evaluation.calibration import cross_scale_predictions, scale_predictions
from tumorboard.evaluation.scores import Scores, group_indices, score
from tumorboard.evaluation.selective_prediction import (
    CalibratedPerformance,
    Calibration,
    calibrated_performance,
    referral_threshold,
)
from tumorboard.predictions import Predictions, Probabilities

METHODS = ("mean", "log_odds", "any")
"""How probabilities are combined; "any" is for two classes, one of which means "nothing found"."""
FEW_PATIENTS = 10
"""With fewer validation patients of several images nothing can be chosen, and the mean is used."""

_NEARLY_ALL = 0.95  # of the images

_NEGATIVE = frozenset(
    {"normal", "healthy", "negative", "neg", "benign", "control", "controls", "no", "none", "nofinding", "0"}
)
_SMALLEST = 1e-7  # of a probability, as in Keras; it bounds the log-odds


@dataclass(frozen=True, slots=True)
class PatientRule:
    """How the predictions of a patient's images are combined.

    Prediction sets and referral are calibrated on the combined predictions of the validation patients.

    Args:
        method: One of `METHODS`.
        reason: Why it was chosen.
        n: Number of validation patients.
        alpha: Share of the patients' prediction sets that may miss the class.
        quantile: The largest 1 - p that a class in a patient's prediction set may have; None with fewer than
            1 / alpha - 1 patients.
        refer_below: Patients of lower confidence are referred to a human reader; None without a threshold.
    """

    method: str
    reason: str
    n: int = 0
    alpha: float = conformal.ALPHA
    quantile: float | None = None
    refer_below: float | None = None


UNCHOSEN = PatientRule("mean", "nothing was chosen on validation")


@dataclass(frozen=True)
class PatientScores:
    """What models achieved per patient on the same images.

    Args:
        rules: By model, how its predictions of a patient's images were combined.
        scores: By model, of cases; intervals take patients as the independent units.
        patients: Number of patients (groups).
        found: Number of them that file names told.
        images: Number of images.
        alone: Number of images without a group, each a case of its own.
        mixed: Patients with images of several classes.
        positive: The class of the mixed patients; "" if they are one case per class.
    """

    rules: Mapping[str, PatientRule]
    scores: Mapping[str, Scores]
    patients: int
    found: int
    images: int
    alone: int
    mixed: tuple[str, ...]
    positive: str

    @property
    def nearly_all(self) -> bool:
        """Whether nearly all images have a patient, so that these figures come first."""
        return self.images - self.alone >= _NEARLY_ALL * self.images


def score_patients(
    models: Mapping[str, Predictions],
    groups: Mapping[str, str],
    rules: Mapping[str, PatientRule] = {},
    temperatures: Mapping[str, float] = {},
) -> PatientScores | None:
    """Score models per patient; None if no patient has several of the images.

    Args:
        models: By name, predictions of the same images.
        groups: Group by image id, of images that have one.
        rules: By model, chosen on validation; a model without one combines by the mean.
        temperatures: By model, by what its logits are divided before they are combined, as `predict` does.
    """
    first = next(iter(models.values()))
    patient = {name: groups[name] for name in first.ids if groups.get(name)}
    sizes = Counter(patient.values())
    if max(sizes.values(), default=0) < 2:
        return None
    labels = dict(zip(first.ids, first.labels.tolist(), strict=True))
    classes = Counter(group for group, _ in {(group, labels[name]) for name, group in patient.items()})
    mixed = tuple(sorted(group for group, n in classes.items() if n > 1))
    positive = positive_class(first.class_names)
    tied = {}  # a patient who is counted once per class is no two independent units
    if positive is None:
        owner = {case: patient.get(first.ids[rows[0]], "") for case, rows in cases(first, groups).items()}
        tied = {case: group for case, group in owner.items() if classes[group] > 1}
    used = {name: rules.get(name, UNCHOSEN) for name in models}
    scaled = {
        name: scale_predictions(each, temperatures[name]) if name in temperatures else each
        for name, each in models.items()
    }
    return PatientScores(
        used,
        {name: score(per_patient(each, groups, used[name].method), tied) for name, each in scaled.items()},
        len(sizes),
        sum(group.startswith(FOUND_GROUP) for group in sizes),
        len(first),
        len(first) - len(patient),
        mixed,
        "" if positive is None else first.class_names[positive],
    )


def positive_class(class_names: Sequence[str]) -> int | None:
    """Return the position of the class that means a finding, if there are two and one means none."""
    negative = ["".join(filter(str.isalnum, name.casefold())) in _NEGATIVE for name in class_names]
    return negative.index(False) if len(class_names) == 2 and sum(negative) == 1 else None


def combine(
    probabilities: npt.ArrayLike, method: str, positive: int | None = None
) -> npt.NDArray[np.float64]:
    """Combine the probabilities of one patient's images.

    Args:
        probabilities: (N, C), each row summing to 1; N >= 1.
        method: "mean": their mean; "log_odds": the softmax of the mean logarithms, which for two classes
            is the mean of the log-odds; "any": the largest probability of the positive class.
        positive: The position of the positive class, for "any".

    Returns:
        (C,), summing to 1.
    """
    values = np.asarray(probabilities, np.float64)
    if method == "any" and positive is not None:
        highest = float(values[:, positive].max())
        combined = np.full(values.shape[1], 1 - highest)
        combined[positive] = highest
        return combined
    if method == "log_odds":
        logits = np.log(np.maximum(values, _SMALLEST)).mean(axis=0)
        exponentials = np.exp(logits - logits.max())
        return np.asarray(exponentials / exponentials.sum())
    mean = values.mean(axis=0)
    return np.asarray(mean / mean.sum())


def contributions(
    probabilities: npt.ArrayLike, method: str, predicted: int, positive: int | None = None
) -> npt.NDArray[np.float64]:
    """Return (N,) how much each image speaks for what `combine` predicts of a patient.

    Args:
        probabilities: (N, C), as for `combine`.
        method: "mean": the probability of the predicted class; "log_odds": its logarithm less the mean of
            those of all classes, for two classes half the log-odds; "any": the probability of the positive
            class, whose largest decides alone, whatever is predicted.
        predicted: The position of the predicted class.
        positive: The position of the positive class, for "any".
    """
    values = np.asarray(probabilities, np.float64)
    if method == "any" and positive is not None:
        return np.asarray(values[:, positive])
    if method == "log_odds":
        logits = np.log(np.maximum(values, _SMALLEST))
        return np.asarray(logits[:, predicted] - logits.mean(axis=1))
    return np.asarray(values[:, predicted])


def cases(predictions: Predictions, groups: Mapping[str, str]) -> dict[str, npt.NDArray[np.int64]]:
    """Return the rows of each case by its name; the name of a patient counted once per class ends with it.

    Args:
        predictions: Of images.
        groups: Group by image id, of images that have one.
    """
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(predictions.ids):
        case = f"group:{groups[name]}" if groups.get(name) else f"image:{name}"
        rows.setdefault(case, []).append(row)
    by_case: dict[str, npt.NDArray[np.int64]] = {}
    any_positive = positive_class(predictions.class_names) is not None
    for case, members in rows.items():
        array = np.array(members, np.int64)
        classes = np.unique(predictions.labels[array])
        if len(classes) == 1 or any_positive:
            by_case[case] = array
        else:
            for label in classes:
                name = f"{case} ({predictions.class_names[label]})"
                by_case[name] = array[predictions.labels[array] == label]
    return by_case


def per_patient(predictions: Predictions, groups: Mapping[str, str], method: str) -> Predictions:
    """Combine the predictions of images into those of cases, whose names are their ids.

    Args:
        predictions: Of images.
        groups: Group by image id, of images that have one.
        method: One of `METHODS`.
    """
    positive = positive_class(predictions.class_names)
    by_case = cases(predictions, groups)
    labels = [
        int(predictions.labels[rows[0]])
        if positive is None or not (predictions.labels[rows] == positive).any()
        else positive
        for rows in by_case.values()
    ]
    combined = [combine(predictions.probabilities[rows], method, positive) for rows in by_case.values()]
    values: Probabilities = np.array(combined).reshape(len(by_case), len(predictions.class_names))
    return Predictions(tuple(by_case), np.array(labels, np.int64), predictions.class_names, values)


def choose(valid: Predictions, groups: Mapping[str, str]) -> PatientRule:
    """Choose the method with the lowest log loss per patient on validation.

    Args:
        valid: A model's predictions of the validation images.
        groups: Group by image id, of images that have one.
    """
    several = sum(len(rows) > 1 for rows in cases(valid, groups).values())
    if several < FEW_PATIENTS:
        return PatientRule(
            "mean",
            f"validation has {plural(several, 'patient')} of several images, fewer than {FEW_PATIENTS}",
        )
    methods = METHODS if positive_class(valid.class_names) is not None else METHODS[:2]
    losses = {}
    for method in methods:
        combined = per_patient(valid, groups, method)
        losses[method] = float(metrics.log_loss(combined.labels, combined.probabilities))
    best = min(losses, key=lambda method: losses[method])
    listed = ", ".join(f"{method} {loss:.3f}" for method, loss in losses.items())
    return PatientRule(best, f"lowest log loss per patient on validation ({several} patients): {listed}")


def fit_rule(valid: Predictions, groups: Mapping[str, str], temperature: float) -> PatientRule:
    """Choose the method, and calibrate prediction sets and referral per patient, on validation.

    Args:
        valid: A model's predictions of the validation images.
        groups: Group by image id, of images that have one.
        temperature: By what the model's logits are divided.
    """
    rule = choose(scale_predictions(valid, temperature), groups)
    scaled = cross_scale_predictions(valid, group_indices(valid.ids, groups))
    combined = known_patients(scaled, groups, rule.method)
    return replace(
        rule,
        n=len(combined),
        quantile=conformal.quantile(combined, rule.alpha),
        refer_below=referral_threshold(combined),
    )


def known_patients(predictions: Predictions, groups: Mapping[str, str], method: str) -> Predictions:
    """Combine the predictions of images into those of patients of one class, as `per_patient` does.

    Images without a group are left out, and so is who has images of several classes and counts once per
    class: of such a patient no set can hold "the" class.
    """
    by_group: dict[str, set[int]] = {}
    for name, label in zip(predictions.ids, predictions.labels.tolist(), strict=True):
        by_group.setdefault(groups.get(name, ""), set()).add(label)
    any_positive = positive_class(predictions.class_names) is not None
    rows = [
        row
        for row, name in enumerate(predictions.ids)
        if groups.get(name) and (any_positive or len(by_group[groups[name]]) == 1)
    ]
    return per_patient(predictions.take(np.array(rows, np.int64)), groups, method)


def calibrated_per_patient(
    models: Mapping[str, Predictions],
    groups: Mapping[str, str],
    rules: Mapping[str, PatientRule],
    temperatures: Mapping[str, float],
) -> dict[str, CalibratedPerformance]:
    """Apply what `fit_rule` calibrated to the patients of other images; models without it are left out.

    Args:
        models: By name, predictions of the same images.
        groups: Group by image id, of images that have one.
        rules: By model.
        temperatures: By model.
    """
    performance = {}
    for name in (name for name in models if name in temperatures and name in rules and rules[name].n):
        rule, scaled = rules[name], scale_predictions(models[name], temperatures[name])
        combined = known_patients(scaled, groups, rule.method)
        if len(combined):
            fitted = Calibration(1.0, rule.alpha, rule.quantile, rule.n, rule.refer_below)
            performance[name] = calibrated_performance(combined, fitted)
    return performance
