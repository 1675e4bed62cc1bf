"""Find points that are close to each other among very many, in time and memory that grow with N log N.

Points are projected on random lines that are cut into steps; points in the same steps of all lines share
a bucket, and are compared with their neighbours there. Many sets of lines make up for the pairs that a
cut tears apart; a bucket however full costs no more than its number of points times `_NEIGHBOURS`.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

_TABLES, _LINES = 24, 8
_STEP = 3.0  # times the largest distance
_NEIGHBOURS = 32


def close(points: Floats, near: float) -> Indices:
    """Pairs of points no more than `near` apart; of those that are half as far apart, practically all.

    Args:
        points: float32 (N, D), best with coordinates that spread by several times `near`.
        near: The largest distance.

    Returns:
        int64 (P, 2): indices, the first below the second, no pair twice, the closest first.
    """
    rng = np.random.default_rng(0)
    found = [np.empty(0, np.int64)]
    for _ in range(_TABLES):
        lines = rng.normal(size=(points.shape[1], _LINES)).astype(np.float32)
        pairs = np.sort(_neighbours(points @ lines / (_STEP * near) + rng.random(_LINES, np.float32)), axis=1)
        pairs = pairs[_distances(points, pairs) <= near]
        found.append(pairs[:, 0] * len(points) + pairs[:, 1])  # one number a pair: sorted much sooner
    pairs = np.stack(np.divmod(np.unique(np.concatenate(found)), max(1, len(points))), axis=1)
    return pairs[np.argsort(_distances(points, pairs), kind="stable")]


def _neighbours(places: Floats) -> Indices:
    """Pairs in one bucket, each with at most `_NEIGHBOURS` of those that follow it on the first line."""
    steps = np.floor(places).astype(np.int64)
    bucket = steps @ np.random.default_rng(1).integers(1, 2**40, _LINES) if len(steps) else steps[:, 0]
    order = np.lexsort((places[:, 0], bucket))
    bucket = bucket[order]
    found = [np.empty((0, 2), np.int64)]
    for offset in range(1, min(_NEIGHBOURS + 1, len(order))):
        same = np.flatnonzero(bucket[offset:] == bucket[:-offset])
        if not len(same):
            break
        found.append(np.stack([order[same], order[same + offset]], axis=1))
    return np.concatenate(found)


def _distances(points: Floats, pairs: Indices) -> Floats:
    gaps = np.empty(len(pairs), np.float32)
    for part in parts(len(pairs), 100_000):
        gaps[part] = np.linalg.norm(points[pairs[part, 0]] - points[pairs[part, 1]], axis=1)
    return gaps


def parts(N: int, at_once: int) -> Iterator[slice]:
    """Slices that cover 0 to N, so that what is computed for all needs memory for some."""
    yield from (slice(start, stop) for start, stop in pairwise([*range(0, N, at_once), N]) if stop > start)
