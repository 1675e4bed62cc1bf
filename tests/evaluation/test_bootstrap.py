import numpy as np
import pytest

from tumorboard.evaluation import bootstrap
from tumorboard.evaluation.bootstrap import Resamples, bca


def mean_of(values):
    return lambda weights: (weights @ values) / weights.sum(axis=1)


def test_draws_keep_the_number_of_samples_of_each_class():
    labels = np.array([0, 0, 0, 1, 1, 2])
    for c, n in enumerate((3, 2, 1)):
        counts = Resamples(labels).values(lambda weights, c=c: weights[:, labels == c].sum(axis=1))
        assert set(counts) == {n}


def test_groups_are_drawn_whole_and_within_their_class():
    labels = np.repeat([0, 1], 6)
    groups = np.repeat(np.arange(4), 3)
    alike = Resamples(labels, groups).values(lambda weights: np.ptp(weights.reshape(-1, 4, 3), axis=2).max(1))
    assert set(alike) == {0}
    of_a_class = Resamples(labels, groups).values(lambda weights: weights[:, :6].sum(axis=1))
    assert set(of_a_class) == {6}


def test_groups_of_several_classes_are_drawn_from_one_pot():
    labels, groups = np.tile([0, 1], 6), np.repeat(np.arange(4), 3)
    counts = Resamples(labels, groups).values(lambda weights: weights[:, labels == 0].sum(axis=1))
    assert len(set(counts)) > 1


def test_the_interval_of_a_mean_is_near_the_textbook_s(monkeypatch):
    monkeypatch.setattr(bootstrap, "REPLICATES", 4000)
    values = np.random.default_rng(0).normal(3, 2, 400)
    half = 1.96 * values.std(ddof=1) / 20
    found = bca(mean_of(values), Resamples(np.zeros(400, int)))
    assert found == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)


def test_a_skewed_mean_s_interval_reaches_further_to_the_right():
    values = np.random.default_rng(1).lognormal(0, 1.5, 60)
    low, high = bca(mean_of(values), Resamples(np.zeros(60, int)))
    assert high - values.mean() > 1.2 * (values.mean() - low)


def test_what_resampling_cannot_tell_is_refused():
    labels = np.zeros(20, int)
    assert bca(mean_of(np.ones(20)), Resamples(labels)) is None
    assert bca(lambda w: np.where(w[:, 0] > 0, w[:, 1], np.nan), Resamples(labels)) is None


def test_large_data_are_drawn_in_blocks_with_the_same_result(monkeypatch):
    values, labels = np.random.default_rng(2).normal(size=50), np.zeros(50, int)
    whole = Resamples(labels).values(mean_of(values))
    monkeypatch.setattr(bootstrap, "_BLOCK", 700)
    assert len(Resamples(labels).values(mean_of(values))) == len(whole)
    assert np.std(Resamples(labels).values(mean_of(values))) == pytest.approx(whole.std(), rel=0.3)


def test_the_jackknife_leaves_each_group_out_once():
    groups = np.repeat(np.arange(5), 2)
    left = Resamples(np.zeros(10, int), groups).jackknife(lambda weights: weights.sum(axis=1))
    assert left.tolist() == [8] * 5
    many = Resamples(np.zeros(900, int)).jackknife(lambda weights: weights.sum(axis=1))
    assert len(many) == 200
    assert many.sum() == 199 * 900
