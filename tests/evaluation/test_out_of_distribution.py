import numpy as np
import pytest

from tumorboard.errors import DataError
from tumorboard.evaluation import out_of_distribution

RANDOM = np.random.default_rng(0)
LABELS = np.repeat([0, 1, 3], 60)
CENTRES = RANDOM.normal(size=(4, 12)) * 4


def embeddings(labels, seed):
    """Clouds around class centres, flat in the last four of twelve directions."""
    random = np.random.default_rng(seed)
    return CENTRES[labels] + random.normal(size=(len(labels), 12)) * ([1.0] * 8 + [0.01] * 4)


def test_the_likes_of_training_data_are_rarely_flagged_and_others_always():
    fitted = out_of_distribution.fit(embeddings(LABELS, 1), LABELS)
    limit = out_of_distribution.threshold(fitted.score(embeddings(LABELS, 2)))
    false_alarm_rate = (fitted.score(embeddings(LABELS, 3)) > limit).mean()
    assert false_alarm_rate < 0.12
    far = RANDOM.normal(size=(50, 12)) * 30
    off_the_plane = embeddings(LABELS, 4) + np.array([0] * 8 + [1.0] * 4)
    assert (fitted.score(far) > limit).all()
    assert (fitted.score(off_the_plane) > limit).all()


def test_it_is_mahalanobis_distance_when_there_are_images_enough():
    """To one class, with all directions kept: the plain formula with the pooled covariance."""
    random = np.random.default_rng(5)
    points, labels = random.normal(size=(400, 3)), np.zeros(400, int)
    kept = out_of_distribution.OutOfDistribution(points.mean(0)[None], *_all_directions(points), 1.0)
    expected = np.einsum(
        "ni,ij,nj->n", points - points.mean(0), np.linalg.inv(np.cov(points.T)), points - points.mean(0)
    )
    assert kept.score(points) == pytest.approx(expected)
    fitted = out_of_distribution.fit(points, labels)
    assert np.corrcoef(fitted.score(points), expected)[0, 1] > 0.95


def _all_directions(points):
    values, vectors = np.linalg.eigh(np.cov(points.T))
    return vectors.T, values


def test_more_dimensions_than_images_and_constant_ones_are_no_trouble():
    random = np.random.default_rng(7)
    wide = np.hstack([random.normal(size=(20, 300)), np.zeros((20, 10))])
    fitted = out_of_distribution.fit(wide, np.arange(20) % 2)
    scores = fitted.score(wide)
    assert np.isfinite(scores).all()
    assert fitted.score(np.full((1, 310), 50.0))[0] > scores.max()
    assert np.isfinite(
        out_of_distribution.fit(np.ones((6, 4)), np.zeros(6, int)).score(np.ones((2, 4)))
    ).all()


def test_it_comes_back_from_a_file_bit_for_bit():
    fitted = out_of_distribution.fit(embeddings(LABELS, 1), LABELS)
    again = out_of_distribution.OutOfDistribution.from_bytes(fitted.to_bytes(), "x.npz")
    points = embeddings(LABELS, 9)
    assert np.array_equal(again.score(points), fitted.score(points))
    assert fitted.to_bytes() == again.to_bytes()
    with pytest.raises(DataError, match=r"x\.npz"):
        out_of_distribution.OutOfDistribution.from_bytes(b"no archive", "x.npz")


def test_too_few_images_and_no_numbers_are_refused():
    with pytest.raises(DataError, match="more training images"):
        out_of_distribution.fit(np.ones((3, 4)), np.array([0, 1, 2]))
    with pytest.raises(DataError, match="finite"):
        out_of_distribution.fit(np.full((9, 4), np.nan), np.zeros(9, int))
    assert out_of_distribution.threshold(np.arange(18.0)) is None
    assert out_of_distribution.threshold(np.arange(19.0)) == 18
