import numpy as np
import pytest

from tumorboard.data.near_duplicates import close, parts


def _points(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.5, (n, 12)).astype(np.float32)


def _by_comparing_all(points: np.ndarray, near: float) -> set[tuple[int, int]]:
    gaps = np.linalg.norm(points[:, np.newaxis] - points, axis=2)
    return {(int(i), int(j)) for i, j in np.argwhere(gaps <= near) if i < j}


@pytest.mark.parametrize("seed", range(3))
def test_pairs_at_half_the_distance_are_all_found_and_none_too_far(seed: int) -> None:
    points = _points(600, seed)
    moved = np.random.default_rng(seed).normal(size=(200, 12))
    points[400:] = points[:200] + 0.1 * moved / np.linalg.norm(moved, axis=1, keepdims=True)
    pairs = set(map(tuple, close(points, 0.2).tolist()))
    assert pairs >= {(i, i + 400) for i in range(200)}
    assert pairs <= _by_comparing_all(points, 0.2)


def test_pairs_come_once_and_the_closest_first() -> None:
    points = np.concatenate([_points(50), _points(50) + 0.01])
    pairs = close(points, 0.1)
    gaps = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
    assert (np.diff(gaps) >= 0).all()
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert len(np.unique(pairs, axis=0)) == len(pairs)


def test_the_same_points_give_the_same_pairs() -> None:
    points = _points(300)
    assert np.array_equal(close(points, 1.5), close(points, 1.5))


def test_a_crowd_in_one_place_costs_no_square() -> None:
    """4,000 equal points are 8 million pairs; what is compared stays linear, and chains still join all."""
    pairs = close(np.zeros((4_000, 12), np.float32), 0.1)
    assert 3_999 <= len(pairs) <= 4_000 * 32 * 24


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_points_have_no_pairs(n: int) -> None:
    assert close(_points(n), 0.1).shape == (0, 2)


def test_parts_cover_everything_once() -> None:
    assert [list(range(10))[part] for part in parts(10, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert list(parts(0, 4)) == []
