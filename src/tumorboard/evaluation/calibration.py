"""Does a model that says 80 % hit in 80 of 100 cases? Measured, and repaired with one number.

Temperature scaling (C. Guo and others, ICML 2017, 1321-1330) raises each probability to the power 1 / T and
scales the row to 1: T > 1 makes a model less sure. It never changes which class is the most probable.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize

from tumorboard.evaluation.intervals import Estimate, proportion
from tumorboard.evaluation.metrics import EPSILON, log_loss
from tumorboard.predictions import Predictions, Probabilities

BINS = 10
_COOLEST, _HOTTEST = 0.05, 20.0
_NULL_RUNS = 1000
_FOLDS = 5


@dataclass(frozen=True)
class Bin:
    """The images whose confidence, the largest probability, lies in (from, to]."""

    above: float
    upto: float
    confidence: float
    accuracy: Estimate


@dataclass(frozen=True)
class CalibrationError:
    """Expected calibration error, 0 to 1, with the band in which 95 % of perfectly calibrated models fall.

    The error of so few images is biased upwards, so no interval is drawn around it: a value in the band is
    no evidence of miscalibration, a value above it is.
    """

    value: float | None
    n: int
    null_low: float | None
    null_high: float | None


def fit_temperature(predictions: Predictions) -> float:
    """The T, 0.05 to 20, of lowest log loss on these images, which must not be test; 1.0 of none."""
    if not len(predictions):
        return 1.0

    def loss(log_t: float) -> float:
        return log_loss(predictions.labels, scale_probabilities(predictions.probabilities, math.exp(log_t)))

    bounds = math.log(_COOLEST), math.log(_HOTTEST)
    best = optimize.minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return math.exp(float(best.x)) if best.fun < loss(0.0) else 1.0


def scale_probabilities(probabilities: Probabilities, T: float) -> Probabilities:
    """(N, C) probabilities at temperature T > 0, in the same order within each row."""
    logits = np.log(np.maximum(probabilities, EPSILON)) / T
    powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    rows, first = np.arange(len(powers)), probabilities.argmax(axis=1)
    lost = powers.argmax(axis=1) != first  # what differed in the last bits may have been rounded alike
    powers[rows[lost], first[lost]] = np.nextafter(1.0, 2.0)
    scaled = powers / powers.sum(axis=1, keepdims=True)
    lost = scaled.argmax(axis=1) != first
    scaled[rows[lost], first[lost]] = np.nextafter(scaled[lost].max(axis=1, initial=0), 2.0)
    return np.asarray(scaled)


def scale_predictions(predictions: Predictions, T: float) -> Predictions:
    """The same predictions, tempered."""
    rows = scale_probabilities(predictions.probabilities, T)
    return Predictions(predictions.ids, predictions.labels, predictions.class_names, rows)


def cross_scale_predictions(predictions: Predictions) -> Predictions:
    """Each image tempered by the T of the other folds: how tempering does on images that it has not seen.

    Five folds, dealt by class in the order of ids; leaving one out with five images or fewer.
    """
    fold = np.empty(len(predictions), dtype=np.int64)
    by_class = sorted(range(len(predictions)), key=lambda i: (predictions.labels[i], predictions.ids[i]))
    fold[by_class] = np.arange(len(predictions)) % _FOLDS
    rows = np.array(predictions.probabilities)
    for held_out in range(_FOLDS):
        others, these = fold != held_out, fold == held_out
        rows[these] = scale_probabilities(rows[these], fit_temperature(_rows(predictions, others)))
    return Predictions(predictions.ids, predictions.labels, predictions.class_names, rows)


def _rows(one: Predictions, chosen: npt.NDArray[np.bool_]) -> Predictions:
    ids = tuple(name for name, wanted in zip(one.ids, chosen, strict=True) if wanted)
    return Predictions(ids, one.labels[chosen], one.class_names, one.probabilities[chosen])


def reliability(predictions: Predictions) -> tuple[Bin, ...]:
    """Confidence beside accuracy in ten bins of equal width; bins without images are left out."""
    confidence = predictions.probabilities.max(axis=1, initial=0)
    right = predictions.predicted == predictions.labels
    places = _bins(confidence)
    return tuple(
        Bin(
            b / BINS,
            (b + 1) / BINS,
            math.fsum(confidence[places == b]) / int((places == b).sum()),
            proportion(int(right[places == b].sum()), int((places == b).sum())),
        )
        for b in np.unique(places)
    )


def expected_calibration_error(predictions: Predictions) -> float:
    """Mean distance between confidence and accuracy over the bins, weighted by their images; NaN of none."""
    n = len(predictions)
    if not n:
        return math.nan
    distances = (
        abs(b.confidence - (b.accuracy.value or 0.0)) * b.accuracy.n for b in reliability(predictions)
    )
    return math.fsum(distances) / n


def calibration_error(predictions: Predictions) -> CalibrationError:
    """The expected calibration error with its null band.

    The band holds the middle 95 % of 1,000 errors of outcomes drawn with exactly the stated confidences.
    """
    n = len(predictions)
    if not n:
        return CalibrationError(None, 0, None, None)
    confidence = np.sort(predictions.probabilities.max(axis=1))  # sorted: the band is the same for any order
    places = _bins(confidence)
    member = np.eye(BINS)[places]
    hits = np.random.default_rng(0).random((_NULL_RUNS, n)) < confidence
    gaps = np.abs((hits - confidence) @ member).sum(axis=1) / n
    low, high = np.quantile(gaps, (0.025, 0.975)).tolist()
    return CalibrationError(expected_calibration_error(predictions), n, low, high)


def _bins(confidence: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The bin of each confidence; equal ones share theirs."""
    return np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
