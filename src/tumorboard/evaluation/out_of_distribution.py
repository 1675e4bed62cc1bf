"""Detection of out-of-distribution images, from a network's embedding.

The score is the squared Mahalanobis distance to the nearest class mean (K. Lee and others, NeurIPS 31 (2018)
7167-7177). The covariance within classes is that of probabilistic principal components: the directions of
largest variance as they are, a common variance for all others. So a few hundred images suffice, and
directions in which the training images do not vary weigh most.
"""

import io
import zipfile
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from tumorboard.errors import DataError
from tumorboard.evaluation.conformal import upper_quantile

Floats = npt.NDArray[np.float64]

FALSE_ALARM_RATE = 0.05
_EXPLAINED = 0.95
"""Share of the variance within classes that the kept directions explain."""
_FLOOR = 1e-3
"""Smallest variance of a direction, as a share of the mean variance; below it rounding would decide."""


@dataclass(frozen=True)
class OutOfDistribution:
    """A detector, fitted to the embeddings of training images.

    Attributes:
        means: (C, D) of each class that occurs.
        directions: (K, D) of largest variance within classes, orthonormal.
        variances: (K,) along them.
        rest: The variance along each other direction.
    """

    means: Floats
    directions: Floats
    variances: Floats
    rest: float

    def score(self, embeddings: npt.ArrayLike) -> Floats:
        """Return (N,) squared distances of (N, D) embeddings to the nearest class mean, 0 or more."""
        points = _vectors(embeddings)
        away = points[:, None, :] - self.means
        along = away @ self.directions.T
        left = np.maximum((away**2).sum(-1) - (along**2).sum(-1), 0)
        return np.asarray(((along**2 / self.variances).sum(-1) + left / self.rest).min(axis=1))

    def to_bytes(self) -> bytes:
        """Return the content of an .npz file."""
        file = io.BytesIO()
        np.savez(file, **asdict(self))
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, source: str) -> "OutOfDistribution":
        """Read what `to_bytes` wrote.

        Raises:
            DataError: It is something else.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                values = {name: np.array(arrays[name], np.float64) for name in cls.__dataclass_fields__}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"expected what `train` wrote in {source}, found other content") from error
        return cls(values["means"], values["directions"], values["variances"], float(values["rest"]))


def fit(embeddings: npt.ArrayLike, labels: npt.NDArray[np.int64]) -> OutOfDistribution:
    """Fit a detector to training images.

    Args:
        embeddings: (N, D), finite.
        labels: (N,) classes.

    Raises:
        DataError: Fewer images than classes + 2, or embeddings that are not finite.
    """
    points = _vectors(embeddings)
    classes, rows = np.unique(labels, return_inverse=True)
    if len(points) < len(classes) + 2:
        raise DataError(f"expected more training images than classes and 2, found {len(points)}")
    means = np.stack([points[rows == c].mean(axis=0) for c in range(len(classes))])
    _, singular, directions = np.linalg.svd(points - means[rows], full_matrices=False)
    variances = singular**2 / (len(points) - len(classes))
    floor = _FLOOR * max(float(variances.sum()) / points.shape[1], np.finfo(np.float64).tiny)
    K = int(np.searchsorted(np.cumsum(variances), _EXPLAINED * variances.sum())) + 1
    K = min(K, len(variances))
    left = float(variances[K:].sum()) / max(points.shape[1] - K, 1)
    return OutOfDistribution(means, directions[:K], np.maximum(variances[:K], floor), max(left, floor))


def threshold(scores: npt.ArrayLike, false_alarm_rate: float = FALSE_ALARM_RATE) -> float | None:
    """Return the score above which an image is out of distribution.

    Args:
        scores: (n,) of validation images, which the network was not trained on.
        false_alarm_rate: Share of in-distribution images that may be flagged, 0 to 1.

    Returns:
        The `upper_quantile` of the scores; None for n < 1 / false_alarm_rate - 1.
    """
    return upper_quantile(scores, false_alarm_rate)


def _vectors(embeddings: npt.ArrayLike) -> Floats:
    points = np.asarray(embeddings, dtype=np.float64)
    if points.ndim != 2 or not np.isfinite(points).all():
        raise DataError(f"expected finite embeddings (N, D), found shape {points.shape}")
    return points
