"""How unlike the training images an image is, from a network's embedding of it.

The squared Mahalanobis distance to the nearest class (K. Lee and others, NeurIPS 31 (2018) 7167-7177). The
covariance within classes is that of probabilistic principal components: its largest directions as they are,
one variance for all the rest, so that a few hundred images suffice and directions in which training images
do not vary at all weigh most.
"""

import io
import math
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from tumorboard.errors import DataError

Floats = npt.NDArray[np.float64]

FALSE_ALARM_RATE = 0.05
_EXPLAINED = 0.95
"""Share of the variance within classes that the kept directions hold."""
_FLOOR = 1e-3
"""Of the mean variance: no direction counts as known more exactly, or rounding would decide."""


@dataclass(frozen=True)
class OutOfDistribution:
    """What is known of the training images' embeddings.

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
        """(N,) squared distance of each of (N, D) embeddings to the nearest class mean, 0 or more."""
        points = _vectors(embeddings)
        away = points[:, None, :] - self.means
        along = away @ self.directions.T
        left = np.maximum((away**2).sum(-1) - (along**2).sum(-1), 0)
        return np.asarray(((along**2 / self.variances).sum(-1) + left / self.rest).min(axis=1))

    def to_bytes(self) -> bytes:
        """As an .npz file."""
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
                found = {name: np.array(arrays[name], np.float64) for name in cls.__dataclass_fields__}
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise DataError(f"expected what `train` wrote in {source}, found other content") from error
        return cls(found["means"], found["directions"], found["variances"], float(found["rest"]))


def fit(embeddings: npt.ArrayLike, labels: npt.NDArray[np.int64]) -> OutOfDistribution:
    """Learn from training images alone.

    Args:
        embeddings: (N, D), finite.
        labels: (N,) classes.

    Raises:
        DataError: No image, or fewer than two more than classes.
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
    """The score above which an image is unlike; on images like the training data it errs that often.

    Args:
        scores: (n,) of validation images, which the network was not fitted to.
        false_alarm_rate: Share of images like them that may be flagged.

    Returns:
        The ceil((n + 1)(1 - false_alarm_rate))-th smallest score; None for n < 1 / false_alarm_rate - 1.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    rank = math.ceil((len(ordered) + 1) * (1 - false_alarm_rate) - 1e-9)
    return float(ordered[rank - 1]) if rank <= len(ordered) else None


def _vectors(embeddings: npt.ArrayLike) -> Floats:
    points = np.asarray(embeddings, dtype=np.float64)
    if points.ndim != 2 or not np.isfinite(points).all():
        raise DataError(f"expected finite embeddings (N, D), found shape {points.shape}")
    return points
