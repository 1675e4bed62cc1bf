"""What validation teaches about a finished model, and how it does on test: may its answer be trusted?"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tumorboard.evaluation import calibration, conformal
from tumorboard.evaluation.intervals import Estimate, proportion
from tumorboard.evaluation.scores import Scores, evaluate
from tumorboard.predictions import Predictions

TARGET_ACCURACY = 0.95
"""Accuracy that is wanted of the images that are not referred to a human."""
_FEWEST_KEPT = 20
_SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


@dataclass(frozen=True)
class Calibration:
    """Fitted on a model's validation predictions, and nothing else.

    Attributes:
        temperature: Its probabilities are tempered with it before anything else is done with them.
        alpha: Of prediction sets: the share that may miss the true class.
        quantile: The largest 1 - p that a class in a set may have; None with too few images.
        n: Validation images.
        refer_below: Images of less confidence are for a human; None if that would not make the rest right.
        ood_threshold: The score above which an image is out of distribution; None if it was not fitted.
    """

    temperature: float
    alpha: float
    quantile: float | None
    n: int
    refer_below: float | None
    ood_threshold: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As it is stored in calibration.json."""
        return {
            "temperature": self.temperature,
            "conformal": {"alpha": self.alpha, "quantile": self.quantile, "n": self.n},
            "refer_below": self.refer_below,
            "out_of_distribution": None if self.ood_threshold is None else {"threshold": self.ood_threshold},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Calibration":
        """Read back what `to_json` wrote; raises KeyError or TypeError if it is something else."""
        sets, detector = content["conformal"], content["out_of_distribution"]
        limit = None if detector is None else float(detector["threshold"])
        return cls(
            float(content["temperature"]),
            sets["alpha"],
            sets["quantile"],
            sets["n"],
            content["refer_below"],
            limit,
        )


@dataclass(frozen=True)
class CoveragePoint:
    """The surest images, with the least confidence among them and their accuracy."""

    coverage: float
    confidence: float
    accuracy: Estimate


@dataclass(frozen=True)
class CalibratedPerformance:
    """How a calibration does on images that it was not fitted on.

    Attributes:
        calibration: What was fitted.
        scores: Scores at its temperature.
        set_coverage: How often the true class is in the prediction set: "all" and "class NAME".
        set_sizes: How many images have a set of so many classes.
        accuracy_by_coverage: Accuracy of the surest 100 %, 90 % ... of the images.
        selective_accuracy: Accuracy of the images that are not referred; None without a threshold.
    """

    calibration: Calibration
    scores: Scores
    set_coverage: dict[str, Estimate]
    set_sizes: dict[int, int]
    accuracy_by_coverage: tuple[CoveragePoint, ...]
    selective_accuracy: Estimate | None

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts and numbers, ready for JSON."""
        return {**asdict(self), "calibration": self.calibration.to_json()}


def fit_calibration(valid: Predictions, alpha: float = conformal.ALPHA) -> Calibration:
    """Fit everything but `ood_threshold` on validation predictions, which must not be test.

    Quantile and threshold come from images tempered without themselves, as new images are.
    """
    fair = calibration.cross_scale_predictions(valid)
    q = conformal.quantile(fair, alpha)
    return Calibration(calibration.fit_temperature(valid), alpha, q, len(valid), refer_below(fair))


def refer_below(predictions: Predictions) -> float | None:
    """Find the lowest confidence down to which `TARGET_ACCURACY` of the images are right.

    It stops at the first step at which they are not, so that no lucky stretch further down decides.
    Twenty images at least are kept; None if even the surest twenty are not right often enough.
    """
    confidence = predictions.probabilities.max(axis=1, initial=0)
    right = predictions.predicted == predictions.labels
    lowest = None
    for limit in np.unique(confidence)[::-1]:
        kept = right[confidence >= limit]
        if len(kept) >= _FEWEST_KEPT:
            if kept.mean() < TARGET_ACCURACY:
                break
            lowest = float(limit)
    return lowest


def calibrated_performance(predictions: Predictions, fitted: Calibration) -> CalibratedPerformance:
    """Apply a calibration to other predictions of the same model."""
    one = calibration.scale_predictions(predictions, fitted.temperature)
    sets = None if fitted.quantile is None else conformal.prediction_set(one.probabilities, fitted.quantile)
    return CalibratedPerformance(
        fitted,
        evaluate(one),
        {} if fitted.quantile is None else conformal.set_coverage(one, fitted.quantile),
        {} if sets is None else _counted(sets.sum(axis=1)),
        accuracy_by_coverage(one),
        None if fitted.refer_below is None else selective_accuracy(one, fitted.refer_below),
    )


def _counted(sizes: npt.NDArray[np.int64]) -> dict[int, int]:
    found, counts = np.unique(sizes, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def accuracy_by_coverage(predictions: Predictions) -> tuple[CoveragePoint, ...]:
    """Accuracy when only the surest answer; images of equal confidence are kept together."""
    confidence = predictions.probabilities.max(axis=1, initial=0)
    ordered = np.sort(confidence)[::-1]
    found = []
    for part in _SHARES if len(predictions) else ():
        limit = float(ordered[max(1, round(part * len(ordered))) - 1])
        answered = selective_accuracy(predictions, limit)
        found.append(CoveragePoint(answered.n / len(predictions), limit, answered))
    return tuple(found)


def selective_accuracy(predictions: Predictions, limit: float) -> Estimate:
    """Accuracy of the images of this confidence or more; n is their number."""
    kept = predictions.probabilities.max(axis=1, initial=0) >= limit
    right = (predictions.predicted == predictions.labels) & kept
    return proportion(int(right.sum()), int(kept.sum()))
