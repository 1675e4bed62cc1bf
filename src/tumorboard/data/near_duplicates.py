"""Find the images of a data set that show the same, in time and memory that grow with N log N.

Identical images have equal decoded pixels. Near duplicates have small grey thumbnails that correlate by
`SIMILAR` or more, also after flips and quarter turns. Candidates for near duplicates are found by locality
sensitive hashing of the thumbnails' low frequencies: points are projected on random lines that are cut into
steps, and points in the same steps of all lines share a bucket, where they are compared with their
neighbours. Many tables of lines make up for the pairs that a cut separates; a bucket however full costs no
more than its number of points times `_NEIGHBOURS`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import scipy
from PIL import Image

from tumorboard.data.pixels import Pixels

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

SIDE = 64
SIMILAR = 0.98

_TABLES, _LINES = 24, 8
_STEP = 3.0  # times the largest distance
_NEIGHBOURS = 32
_LOW = 5  # frequencies in each direction; the constant one, brightness, is left out
_LARGEST_DISTANCE = 0.08
_FLAT = 1.0  # grey levels of standard deviation: below it there is nothing to compare
_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Two images that show the same; each stands for all images identical to it.

    Args:
        first: Position of the first, the lower.
        second: Position of the second.
        similarity: Correlation of their thumbnails, `SIMILAR` to 1.
        flipped_or_rotated: Whether one is a mirror image of the other, or rotated by quarter turns.
    """

    first: int
    second: int
    similarity: float
    flipped_or_rotated: bool


@dataclass(frozen=True)
class Duplicates:
    """Which images of a sequence of N show the same.

    Args:
        identical: int64 (N,), 0, 1, ...: equal numbers have equal pixels.
        near: Pairs of first positions of two numbers: not all, but enough to join each component.
        component: int64 (N,): equal numbers are identical or near duplicates, over any number of steps. What
            a split must keep together.
    """

    identical: Indices
    near: tuple[NearDuplicate, ...]
    component: Indices


def thumbnail(image: Pixels) -> Pixels:
    """Make the small grey image that near duplicates are found by.

    Args:
        image: uint8 (H, W, 3), 0-255.

    Returns:
        uint8 (64, 64), stretched whatever the image's shape.
    """
    grey = Image.fromarray(image).convert("L")
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def find_duplicates(pixel_sha256: Sequence[str], thumbnails: Pixels) -> Duplicates:
    """Find all identical images and near duplicates.

    Args:
        pixel_sha256: For each image the hash of its decoded pixels, see `image_cache.pixel_digest`.
        thumbnails: uint8 (N, 64, 64) of `thumbnail`.
    """
    numbers: dict[str, int] = {}
    identical = np.array([numbers.setdefault(digest, len(numbers)) for digest in pixel_sha256], np.int64)
    firsts = np.unique(identical, return_index=True)[1].astype(np.int64)
    near = tuple(sorted(_near_duplicates(thumbnails, firsts), key=lambda pair: (pair.first, pair.second)))
    pairs = np.array([(identical[pair.first], identical[pair.second]) for pair in near], np.int64)
    return Duplicates(identical, near, _components(pairs.reshape(-1, 2), len(firsts))[identical])


def close_pairs(points: Floats, largest: float) -> Indices:
    """Find pairs of points at most `largest` apart; of those half as far apart, practically all.

    Args:
        points: float32 (N, D), best with coordinates that spread by several times `largest`.
        largest: The largest distance.

    Returns:
        int64 (P, 2): indices, the first below the second, no pair twice, the closest first.
    """
    rng = np.random.default_rng(0)
    keys = [np.empty(0, np.int64)]
    for _ in range(_TABLES):
        lines = rng.normal(size=(points.shape[1], _LINES)).astype(np.float32)
        places = points @ lines / (_STEP * largest) + rng.random(_LINES, np.float32)
        pairs = np.sort(_pairs_in_buckets(places), axis=1)
        pairs = pairs[_distances(points, pairs) <= largest]
        keys.append(pairs[:, 0] * len(points) + pairs[:, 1])  # one number per pair: sorted much sooner
    pairs = np.stack(np.divmod(np.unique(np.concatenate(keys)), max(1, len(points))), axis=1)
    return pairs[np.argsort(_distances(points, pairs), kind="stable")]


def _pairs_in_buckets(places: Floats) -> Indices:
    """Pairs in one bucket, each with at most `_NEIGHBOURS` of those that follow it on the first line."""
    steps = np.floor(places).astype(np.int64)
    bucket = steps @ np.random.default_rng(1).integers(1, 2**40, _LINES) if len(steps) else steps[:, 0]
    order = np.lexsort((places[:, 0], bucket))
    bucket = bucket[order]
    pairs = [np.empty((0, 2), np.int64)]
    for offset in range(1, min(_NEIGHBOURS + 1, len(order))):
        same = np.flatnonzero(bucket[offset:] == bucket[:-offset])
        if not len(same):
            break
        pairs.append(np.stack([order[same], order[same + offset]], axis=1))
    return np.concatenate(pairs)


def _distances(points: Floats, pairs: Indices) -> Floats:
    distances = np.empty(len(pairs), np.float32)
    for part in slices(len(pairs), 100_000):
        distances[part] = np.linalg.norm(points[pairs[part, 0]] - points[pairs[part, 1]], axis=1)
    return distances


def slices(N: int, at_once: int) -> Iterator[slice]:
    """Yield slices that cover 0 to N, so that what is computed for all needs memory for some."""
    yield from (slice(start, stop) for start, stop in pairwise([*range(0, N, at_once), N]) if stop > start)


def _near_duplicates(thumbnails: Pixels, positions: Indices) -> Iterator[NearDuplicate]:
    """Pairs that join every component, not all pairs: of a thousand frames of a film those are too many."""
    deviations = [thumbnails[positions[part]].std(axis=(1, 2)) for part in slices(len(positions), _AT_ONCE)]
    positions = positions[np.concatenate([np.empty(0), *deviations]) >= _FLAT]
    pairs = close_pairs(_frequencies(thumbnails, positions), _LARGEST_DISTANCE)
    joined = np.empty((0, 2), np.int64)
    while len(pairs):
        # The pairs that join all that any of them join, the closest ones preferred.
        order = np.arange(1, len(pairs) + 1, dtype=np.float64)
        graph = scipy.sparse.coo_array((order, (pairs[:, 0], pairs[:, 1])), (len(positions), len(positions)))
        tried = np.sort(
            np.asarray(scipy.sparse.csgraph.minimum_spanning_tree(graph.tocsr()).data, np.int64) - 1
        )
        similarity, changed = _correlation(thumbnails, positions[pairs[tried]])
        for k in np.flatnonzero(similarity >= SIMILAR):
            first, second = positions[pairs[tried[k]]].tolist()
            yield NearDuplicate(first, second, min(1.0, float(similarity[k])), bool(changed[k]))
        joined = np.concatenate([joined, pairs[tried[similarity >= SIMILAR]]])
        component = _components(joined, len(positions))
        pairs = np.delete(pairs, tried, axis=0)
        pairs = pairs[component[pairs[:, 0]] != component[pairs[:, 1]]]


def _components(pairs: Indices, N: int) -> Indices:
    edges = scipy.sparse.coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), (N, N))
    return np.asarray(scipy.sparse.csgraph.connected_components(edges, directed=False)[1], np.int64)


def _frequencies(thumbnails: Pixels, positions: Indices) -> Floats:
    """(N, 24): magnitudes of the low frequencies; distances are never larger than those of the thumbnails.

    A flip changes signs only, a transposition swaps rows with columns, so the sorted magnitudes of each
    such two frequencies stay the same.
    """
    rows, columns = np.triu_indices(_LOW, 1)
    diagonal = np.arange(1, _LOW)
    points = np.empty((len(positions), _LOW * _LOW - 1), np.float32)
    for part in slices(len(positions), _AT_ONCE):
        images = _normalised(thumbnails[positions[part]])
        size = np.abs(scipy.fft.dctn(images, axes=(1, 2), norm="ortho")[:, :_LOW, :_LOW])
        upper, lower = size[:, rows, columns], size[:, columns, rows]
        points[part] = np.concatenate(
            [np.maximum(upper, lower), np.minimum(upper, lower), size[:, diagonal, diagonal]], axis=1
        )
    return points


def _correlation(thumbnails: Pixels, pairs: Indices) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Of each pair the best of the 8 flips and rotations, and whether it is another than the identity."""
    correlations = np.empty((len(pairs), 8), np.float32)
    for part in slices(len(pairs), _AT_ONCE):
        first, second = (_normalised(thumbnails[side]) for side in pairs[part].T)
        squares = (second, second.swapaxes(1, 2))
        upright = [image for square in squares for image in (square, square[:, ::-1])]
        ways = [image for half in upright for image in (half, half[:, :, ::-1])]
        for way, turned in enumerate(ways):
            correlations[part, way] = np.einsum("nij,nij->n", first, turned)
    # Symmetric images correlate in several ways; the identity comes first.
    return correlations.max(axis=1, initial=-1), correlations.argmax(axis=1) > 0


def _normalised(thumbnails: Pixels) -> Floats:
    """Mean 0 and norm 1 each."""
    images = thumbnails.astype(np.float32)
    images -= images.mean(axis=(1, 2), keepdims=True)
    images /= np.linalg.norm(images, axis=(1, 2), keepdims=True)
    return images
