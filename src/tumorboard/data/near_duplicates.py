"""Find points that are close to each other among very many, in time and memory that grow with N log N.

Points are projected on random lines that are cut into steps; points in the same steps of all lines share
a bucket, and are compared with their neighbours there. Many sets of lines make up for the pairs that a
cut tears apart; a bucket however full costs no more than its number of points times `_NEIGHBOURS`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from tumorboard.data.pixels import Pixels

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


SIDE = 64
SIMILAR = 0.98

_LOW = 5  # frequencies each way; the constant one, brightness, is left out
_NEAR = 0.08
_FLAT = 1.0  # grey levels of standard deviation: below it there is nothing to compare
_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class Near:
    """Two pictures that show the same; both stand for all their exact twins.

    Args:
        first: Position of the one, the lower.
        second: Position of the other.
        similarity: Correlation of their small pictures, `SIMILAR` to 1.
        turned: Whether one is flipped or turned by quarters.
    """

    first: int
    second: int
    similarity: float
    turned: bool


@dataclass(frozen=True)
class Twins:
    """What is the same picture in a sequence of N.

    Args:
        picture: int64 (N,), 0, 1, ...: equal numbers have equal pixels.
        near: Pairs of first positions of two numbers: not all, but enough to join each unit.
        unit: int64 (N,): equal numbers are twins, exact or near, over any number of steps. What a split
            must keep together.
    """

    picture: Indices
    near: tuple[Near, ...]
    unit: Indices


def thumbnail(image: Pixels) -> Pixels:
    """The small grey picture that near twins are found by.

    Args:
        image: uint8 (H, W, 3), 0-255.

    Returns:
        uint8 (64, 64), stretched whatever the picture's shape.
    """
    grey = Image.fromarray(image).convert("L")
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def search(pixel_sha256: Sequence[str], thumbnails: Pixels) -> Twins:
    """Find all twins.

    Args:
        pixel_sha256: For each picture the hash of its decoded pixels, see `cache.pixel_digest`.
        thumbnails: uint8 (N, 64, 64) of `thumbnail`.
    """
    firsts, picture = _distinct(pixel_sha256)
    near = tuple(sorted(_near(thumbnails, firsts), key=lambda one: (one.first, one.second)))
    pairs = np.array([(picture[one.first], picture[one.second]) for one in near], np.int64).reshape(-1, 2)
    return Twins(picture, near, _joined(pairs, len(firsts))[picture])


def most_similar(thumbnails: Pixels) -> Indices:
    """For each of at least two pictures the position of the one most like it, as they are, unturned.

    Args:
        thumbnails: uint8 (N, 64, 64); N x N numbers are made.
    """
    rows = _normalised(thumbnails).reshape(len(thumbnails), -1)
    alike = np.nan_to_num(rows @ rows.T, nan=-1.0)
    np.fill_diagonal(alike, -np.inf)
    return np.asarray(alike.argmax(axis=1), np.int64)


def _distinct(pixel_sha256: Sequence[str]) -> tuple[Indices, Indices]:
    """Where each picture occurs first, and for every position its picture's number."""
    numbers: dict[str, int] = {}
    picture = np.array([numbers.setdefault(digest, len(numbers)) for digest in pixel_sha256], np.int64)
    return np.unique(picture, return_index=True)[1].astype(np.int64), picture


def _near(thumbnails: Pixels, positions: Indices) -> Iterator[Near]:
    """Pairs enough to join all twins, not all pairs: among a thousand frames of a film those are too many."""
    positions = positions[_telling(thumbnails, positions)]
    pairs = close(_frequencies(thumbnails, positions), _NEAR)
    joined = np.empty((0, 2), np.int64)
    while len(pairs):
        tried = _spanning(pairs, len(positions))
        similarity, turned = _correlation(thumbnails, positions[pairs[tried]])
        for k in np.flatnonzero(similarity >= SIMILAR):
            first, second = positions[pairs[tried[k]]].tolist()
            yield Near(first, second, min(1.0, float(similarity[k])), bool(turned[k]))
        joined = np.concatenate([joined, pairs[tried[similarity >= SIMILAR]]])
        unit = _joined(joined, len(positions))
        pairs = np.delete(pairs, tried, axis=0)
        pairs = pairs[unit[pairs[:, 0]] != unit[pairs[:, 1]]]


def _spanning(pairs: Indices, N: int) -> Indices:
    """Which of the pairs, the first ones preferred, join all that any of them join."""
    order = np.arange(1, len(pairs) + 1, dtype=np.float64)
    tree = minimum_spanning_tree(coo_array((order, (pairs[:, 0], pairs[:, 1])), (N, N)).tocsr())
    return np.sort(np.asarray(tree.data, np.int64) - 1)


def _telling(thumbnails: Pixels, positions: Indices) -> npt.NDArray[np.bool_]:
    """Which pictures show anything; by parts, as everything here, so that memory stays bounded."""
    telling = np.empty(len(positions), bool)
    for part in parts(len(positions), _AT_ONCE):
        telling[part] = thumbnails[positions[part]].std(axis=(1, 2)) >= _FLAT
    return telling


def _joined(pairs: Indices, N: int) -> Indices:
    edges = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), (N, N))
    return np.asarray(connected_components(edges, directed=False)[1], np.int64)


def _frequencies(thumbnails: Pixels, positions: Indices) -> Floats:
    """(N, 24): magnitudes of the low frequencies; distances are never larger than those of the pictures.

    A flip changes signs only, a transposition swaps rows with columns, so the sorted magnitudes of each
    such two frequencies stay the same.
    """
    rows, columns = np.triu_indices(_LOW, 1)
    diagonal = np.arange(1, _LOW)
    found = np.empty((len(positions), _LOW * _LOW - 1), np.float32)
    for part in parts(len(positions), _AT_ONCE):
        pictures = _normalised(thumbnails[positions[part]])
        size = np.abs(dctn(pictures, axes=(1, 2), norm="ortho")[:, :_LOW, :_LOW])
        there, back = size[:, rows, columns], size[:, columns, rows]
        found[part] = np.concatenate(
            [np.maximum(there, back), np.minimum(there, back), size[:, diagonal, diagonal]], axis=1
        )
    return found


def _correlation(thumbnails: Pixels, pairs: Indices) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Of each pair the best of the 8 ways to lay one picture on the other, and whether it is turned."""
    best = np.empty((len(pairs), 8), np.float32)
    for part in parts(len(pairs), _AT_ONCE):
        one, other = (_normalised(thumbnails[side]) for side in pairs[part].T)
        for way, laid in enumerate(_ways(other)):
            best[part, way] = np.einsum("nij,nij->n", one, laid)
    # Symmetric pictures correlate in several ways; as they are comes first.
    return best.max(axis=1, initial=-1), best.argmax(axis=1) > 0


def _ways(pictures: Floats) -> Iterator[Floats]:
    for square in (pictures, pictures.swapaxes(1, 2)):
        for upright in (square, square[:, ::-1]):
            yield from (upright, upright[:, :, ::-1])


def _normalised(small: Pixels) -> Floats:
    """Mean 0 and norm 1 each."""
    pictures = small.astype(np.float32)
    pictures -= pictures.mean(axis=(1, 2), keepdims=True)
    pictures /= np.linalg.norm(pictures, axis=(1, 2), keepdims=True)
    return pictures
