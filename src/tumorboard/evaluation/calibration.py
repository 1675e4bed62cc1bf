"""Calibration: whether confidence equals accuracy, measured, and improved by temperature scaling.

Temperature scaling (C. Guo and others, ICML 2017, 1321-1330) raises each probability to the power 1 / T and
scales the row to sum 1; T > 1 lowers the confidence. It never changes which class is the most probable.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy

from tumorboard.evaluation.intervals import Estimate, share
from tumorboard.evaluation.metrics import EPSILON, log_loss
from tumorboard.predictions import Predictions, Probabilities

Groups = npt.NDArray[np.int64] | None

BINS = 10
_MIN_TEMPERATURE, _MAX_TEMPERATURE = 0.05, 20.0
_NULL_RUNS = 1000
_FOLDS = 5


@dataclass(frozen=True)
class ReliabilityBin:
    """Mean confidence (largest probability) and accuracy of the images of confidence in (low, high]."""

    low: float
    high: float
    confidence: float
    accuracy: Estimate


@dataclass(frozen=True)
class CalibrationError:
    """Expected calibration error, 0 to 1, and the band that holds 95% of perfectly calibrated models.

    The error of few images is biased upwards, so it has no interval: a value in the band is no evidence of
    miscalibration, a value above it is.
    """

    value: float | None
    n: int
    null_low: float | None
    null_high: float | None


def fit_temperature(predictions: Predictions) -> float:
    """Return the T, 0.05 to 20, of lowest log loss on these images, which must not be test; 1.0 of none."""
    if not len(predictions):
        return 1.0

    def loss(log_t: float) -> float:
        scaled = scale_probabilities(predictions.probabilities, math.exp(log_t))
        return log_loss(predictions.labels, scaled)

    bounds = math.log(_MIN_TEMPERATURE), math.log(_MAX_TEMPERATURE)
    best = scipy.optimize.minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return math.exp(float(best.x)) if best.fun < loss(0.0) else 1.0


def scale_probabilities(probabilities: Probabilities, T: float) -> Probabilities:
    """Return (N, C) probabilities at temperature T > 0, with the same most probable class in each row."""
    logits = np.log(np.maximum(probabilities, EPSILON)) / T
    powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    rows, predicted = np.arange(len(powers)), probabilities.argmax(axis=1)
    # Probabilities that differ in their last bits may be rounded to equal ones: keep the class first.
    changed = powers.argmax(axis=1) != predicted
    powers[rows[changed], predicted[changed]] = np.nextafter(1.0, 2.0)
    scaled = powers / powers.sum(axis=1, keepdims=True)
    changed = scaled.argmax(axis=1) != predicted
    scaled[rows[changed], predicted[changed]] = np.nextafter(scaled[changed].max(axis=1, initial=0), 2.0)
    return np.asarray(scaled)


def scale_predictions(predictions: Predictions, T: float) -> Predictions:
    """Return the predictions with their probabilities at temperature T > 0."""
    return replace(predictions, probabilities=scale_probabilities(predictions.probabilities, T))


def cross_scale_predictions(predictions: Predictions, groups: Groups = None) -> Predictions:
    """Scale each image by a temperature that was fitted on the other folds, as for new images.

    Five folds, dealt by class in the order of ids; with five images or fewer one image is left out at a time.

    Args:
        predictions: Of N images.
        groups: (N,) group (patient) of each image, which a fold holds whole; None if none are known.
    """
    units = np.arange(len(predictions)) if groups is None else groups
    by_class = sorted(range(len(predictions)), key=lambda i: (predictions.labels[i], predictions.ids[i]))
    number = {unit: n for n, unit in enumerate(dict.fromkeys(units[by_class].tolist()))}
    fold = np.array([number[unit] % _FOLDS for unit in units.tolist()], dtype=np.int64)
    probabilities = np.array(predictions.probabilities)
    for held_out in range(_FOLDS):
        T = fit_temperature(predictions.take(np.flatnonzero(fold != held_out)))
        probabilities[fold == held_out] = scale_probabilities(probabilities[fold == held_out], T)
    return replace(predictions, probabilities=probabilities)


def reliability(predictions: Predictions, groups: Groups = None) -> tuple[ReliabilityBin, ...]:
    """Return confidence and accuracy in ten bins of equal width; bins without images are left out.

    Args:
        predictions: Of N images.
        groups: (N,) group (patient) of each image, of which the intervals are; None if none are known.
    """
    confidence = predictions.probabilities.max(axis=1, initial=0)
    correct = predictions.predicted == predictions.labels
    bins = _bins(confidence)
    return tuple(
        ReliabilityBin(
            b / BINS,
            (b + 1) / BINS,
            math.fsum(confidence[bins == b]) / int((bins == b).sum()),
            share(correct[bins == b], None if groups is None else groups[bins == b]),
        )
        for b in np.unique(bins)
    )


def expected_calibration_error(predictions: Predictions) -> float:
    """Return the mean distance of confidence from accuracy over the bins, weighted by images; NaN of none."""
    n = len(predictions)
    if not n:
        return math.nan
    distances = (
        abs(b.confidence - (b.accuracy.value or 0.0)) * b.accuracy.n for b in reliability(predictions)
    )
    return math.fsum(distances) / n


def calibration_error(predictions: Predictions, groups: Groups = None) -> CalibrationError:
    """Return the expected calibration error with its null band.

    The band holds the middle 95% of 1,000 errors of outcomes drawn with exactly the stated confidences. With
    groups, the outcomes of each bin deviate as much more as its design effect says.

    Args:
        predictions: Of N images.
        groups: (N,) group (patient) of each image; None if none are known.
    """
    n = len(predictions)
    if not n:
        return CalibrationError(None, 0, None, None)
    confidence = np.sort(predictions.probabilities.max(axis=1))  # sorted: the band is the same for any order
    in_bin = np.eye(BINS)[_bins(confidence)]
    hits = np.random.default_rng(0).random((_NULL_RUNS, n)) < confidence
    deviations = (hits - confidence) @ in_bin * np.sqrt(_design_effects(predictions, groups))
    errors = np.abs(deviations).sum(axis=1) / n
    low, high = np.quantile(errors, (0.025, 0.975)).tolist()
    return CalibrationError(expected_calibration_error(predictions), n, low, high)


def _design_effects(predictions: Predictions, groups: Groups) -> npt.NDArray[np.float64]:
    """Return (BINS,) the factor by which each bin's variance exceeds that of independent images.

    As in `intervals.wilson_grouped`, here with the confidences as the expected values. It is 1 at least, and
    at most the size of the largest group, as if all its images were right or wrong together.
    """
    if groups is None or len(np.unique(groups)) == len(groups):
        return np.ones(BINS)
    confidence = predictions.probabilities.max(axis=1)
    in_bin = np.eye(BINS)[_bins(confidence)]
    residuals = ((predictions.predicted == predictions.labels) - confidence)[:, np.newaxis] * in_bin
    sums, sizes = np.zeros((2, int(groups.max()) + 1, BINS))
    np.add.at(sums, groups, residuals)
    np.add.at(sizes, groups, in_bin)
    independent = confidence * (1 - confidence) @ in_bin
    variance = np.minimum((sums**2).sum(axis=0), sizes.max(axis=0) * independent)
    effects = np.divide(variance, independent, out=np.ones(BINS), where=independent > 0)
    return np.asarray(np.maximum(1.0, effects), np.float64)


def _bins(confidence: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the (N,) bin of each confidence, 0 to BINS - 1."""
    return np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
