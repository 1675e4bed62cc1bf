"""Selective prediction: what is fitted on validation to decide when a model refers an image to a human.

A `Calibration` holds a temperature, the quantile of prediction sets, a referral threshold and an
out-of-distribution threshold; `CalibratedPerformance` is their effect on other images.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tumorboard.evaluation import calibration, conformal
from tumorboard.evaluation.calibration import Groups
from tumorboard.evaluation.intervals import Estimate, share
from tumorboard.evaluation.scores import Scores, group_indices, score
from tumorboard.predictions import Predictions

TARGET_ACCURACY = 0.95
"""Accuracy that is wanted of the images that are not referred to a human."""
MIN_NOT_REFERRED = 20
"""With fewer images, or patients, no threshold is looked for."""
COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


@dataclass(frozen=True)
class Calibration:
    """What is fitted to a model's validation predictions, and to nothing else.

    Attributes:
        temperature: Probabilities are scaled by it before anything else is done with them.
        alpha: Share of prediction sets that may miss the true class.
        quantile: The largest 1 - p that a class in a prediction set may have; None with too few images.
        n: Validation images.
        refer_below: Images of lower confidence are referred; None if no threshold reaches `TARGET_ACCURACY`.
        ood_threshold: The score above which an image is out of distribution; None if it was not fitted.
    """

    temperature: float
    alpha: float
    quantile: float | None
    n: int
    refer_below: float | None
    ood_threshold: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the content of calibration.json for a model."""
        return {
            "temperature": self.temperature,
            "conformal": {"alpha": self.alpha, "quantile": self.quantile, "n": self.n},
            "refer_below": self.refer_below,
            "out_of_distribution": None if self.ood_threshold is None else {"threshold": self.ood_threshold},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Calibration":
        """Read what `to_json` returned; raises KeyError or TypeError if it is something else."""
        sets, detector = content["conformal"], content["out_of_distribution"]
        return cls(
            float(content["temperature"]),
            sets["alpha"],
            sets["quantile"],
            sets["n"],
            content["refer_below"],
            None if detector is None else float(detector["threshold"]),
        )


@dataclass(frozen=True)
class CoveragePoint:
    """The accuracy of the most confident images: their share, their lowest confidence, their accuracy."""

    coverage: float
    confidence: float
    accuracy: Estimate


@dataclass(frozen=True)
class CalibratedPerformance:
    """How a calibration does on images that it was not fitted to.

    Attributes:
        calibration: What was fitted.
        scores: At its temperature.
        set_coverage: How often the true class is in the prediction set: "all" and "class NAME".
        set_sizes: Number of images by the number of classes in their set.
        accuracy_by_coverage: Accuracy of the most confident 100%, 90% ... of the images.
        selective_accuracy: Of the images that are not referred; None without a threshold.
    """

    calibration: Calibration
    scores: Scores
    set_coverage: dict[str, Estimate]
    set_sizes: dict[int, int]
    accuracy_by_coverage: tuple[CoveragePoint, ...]
    selective_accuracy: Estimate | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts and numbers, ready for JSON."""
        return {**asdict(self), "calibration": self.calibration.to_json()}


def fit_calibration(
    valid: Predictions, groups: Mapping[str, str] = {}, alpha: float = conformal.ALPHA
) -> Calibration:
    """Fit everything but `ood_threshold` to validation predictions, which must not be test.

    The quantile and the referral threshold come from images scaled by temperatures that were fitted without
    them and the other images of their groups, as new images are.

    Args:
        valid: A model's predictions of the validation images.
        groups: Group by image id, of images that have one.
        alpha: Share of prediction sets that may miss the true class.
    """
    scaled = calibration.cross_scale_predictions(valid, group_indices(valid.ids, groups))
    q = conformal.quantile(scaled, alpha)
    return Calibration(calibration.fit_temperature(valid), alpha, q, len(valid), referral_threshold(scaled))


def referral_threshold(predictions: Predictions) -> float | None:
    """Return the lowest confidence down to which `TARGET_ACCURACY` of the images are correct.

    The threshold goes down from the most confident image and stops at the first step where accuracy is lower,
    so that no lucky stretch further down decides. None if even the 20 most confident images are not
    accurate enough.
    """
    confidence = predictions.probabilities.max(axis=1, initial=0)
    correct = predictions.predicted == predictions.labels
    lowest = None
    for threshold in np.unique(confidence)[::-1]:
        not_referred = correct[confidence >= threshold]
        if len(not_referred) >= MIN_NOT_REFERRED:
            if not_referred.mean() < TARGET_ACCURACY:
                break
            lowest = float(threshold)
    return lowest


def calibrated_performance(
    predictions: Predictions, fitted: Calibration, groups: Mapping[str, str] = {}
) -> CalibratedPerformance:
    """Apply a calibration to other predictions of the same model.

    Args:
        predictions: Of images.
        fitted: The calibration.
        groups: Group by image id; where groups are known, intervals take them as the independent units.
    """
    scaled = calibration.scale_predictions(predictions, fitted.temperature)
    units = group_indices(scaled.ids, groups)
    coverage: dict[str, Estimate] = {}
    set_sizes: dict[int, int] = {}
    if fitted.quantile is not None:
        coverage = conformal.set_coverage(scaled, fitted.quantile, units)
        sets = conformal.prediction_set(scaled.probabilities, fitted.quantile)
        sizes, counts = np.unique(sets.sum(axis=1), return_counts=True)
        set_sizes = dict(zip(sizes.tolist(), counts.tolist(), strict=True))
    return CalibratedPerformance(
        fitted,
        score(scaled, groups),
        coverage,
        set_sizes,
        accuracy_by_coverage(scaled, units),
        None if fitted.refer_below is None else selective_accuracy(scaled, fitted.refer_below, units),
    )


def accuracy_by_coverage(predictions: Predictions, groups: Groups = None) -> tuple[CoveragePoint, ...]:
    """Return the accuracy at each of `COVERAGES`; images of equal confidence are kept together."""
    ordered = np.sort(predictions.probabilities.max(axis=1, initial=0))[::-1]
    points = []
    for coverage in COVERAGES if len(predictions) else ():
        threshold = float(ordered[max(1, round(coverage * len(ordered))) - 1])
        accuracy = selective_accuracy(predictions, threshold, groups)
        points.append(CoveragePoint(accuracy.n / len(predictions), threshold, accuracy))
    return tuple(points)


def selective_accuracy(predictions: Predictions, threshold: float, groups: Groups = None) -> Estimate:
    """Estimate the accuracy of the images whose confidence is at least the threshold; n is their number.

    Args:
        predictions: Of N images.
        threshold: Of the confidence.
        groups: (N,) group (patient) of each image, of which the interval is; None if none are known.
    """
    kept = predictions.probabilities.max(axis=1, initial=0) >= threshold
    correct = predictions.predicted == predictions.labels
    return share(correct[kept], None if groups is None else groups[kept])
