import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from tumorboard.evaluation import intervals


@given(st.integers(1, 2000), st.floats(0, 1))
def test_the_interval_of_a_proportion_is_wilson_s(n, part):
    k = round(part * n)
    expected = binomtest(k, n).proportion_ci(confidence_level=0.95, method="wilson")
    assert intervals.wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_a_proportion_knows_its_n():
    assert intervals.proportion(7, 9) == intervals.Estimate(7 / 9, 9, *intervals.wilson(7, 9))
    assert intervals.proportion(0, 0) == intervals.Estimate(None, 0, 0.0, 1.0)


def test_wilson_stays_within_0_and_1_and_knows_when_it_knows_nothing():
    assert intervals.wilson(0, 10).low == 0.0
    assert intervals.wilson(10, 10).high == 1.0
    assert intervals.wilson(0, 0) == (0.0, 1.0)
    assert intervals.wilson(162, 315) == pytest.approx((0.459, 0.569), abs=5e-4)


def test_samples_of_one_patient_that_say_the_same_count_as_one():
    patients = np.repeat(np.arange(50), 10)
    hits = np.repeat(np.arange(50) < 40, 10)
    alone = intervals.wilson(400, 500)
    low, high = intervals.wilson_grouped(hits, patients)
    assert low < alone.low
    assert high > alone.high
    assert (low, high) == pytest.approx(intervals.wilson(40, 50), abs=0.01)


def test_groups_of_one_are_no_groups():
    hits = np.arange(30) < 20
    assert intervals.wilson_grouped(hits, np.arange(30)) == intervals.wilson(20, 30)


def test_where_all_are_right_the_patients_are_counted_and_one_patient_tells_nothing():
    patients = np.repeat(np.arange(8), 5)
    assert intervals.wilson_grouped(np.ones(40), patients).low < intervals.wilson(8, 8).low + 1e-12
    assert intervals.wilson_grouped(np.ones(40), np.zeros(40, int)) == (0, 1)
    assert intervals.wilson_grouped([], np.array([], int)) == (0, 1)


def test_the_mean_of_one_proportion_is_that_proportion_s_interval():
    assert intervals.mean_of_proportions([(7, 9)]) == pytest.approx(intervals.wilson(7, 9))
    two = intervals.mean_of_proportions([(7, 9), (7, 9)])
    assert two.low > intervals.wilson(7, 9).low
    assert intervals.mean_of_proportions([(9, 9), (5, 5)]).high == 1


def test_a_paired_difference_is_symmetric_and_uncertain_without_any_difference():
    low, high = intervals.paired_difference(1, 7, 50)
    assert (low + high) / 2 == pytest.approx(-6 / 52)
    assert intervals.paired_difference(7, 1, 50) == pytest.approx((-high, -low))
    low, high = intervals.paired_difference(0, 0, 10)
    assert -0.5 < low < 0 < high < 0.5
    # By hand: (0 + 1) / 12 each, so the half width is 1.96 sqrt((2 / 12) / 12).
    assert high == pytest.approx(1.959964 * (2 / 144) ** 0.5, abs=1e-6)


def test_an_area_s_interval_holds_it_and_is_narrower_with_less_variance():
    wide, narrow = (
        intervals.auroc_interval(0.8, 0.0025, 30, 30),
        intervals.auroc_interval(0.8, 0.0004, 30, 30),
    )
    assert wide.low < narrow.low < 0.8 < narrow.high < wide.high < 1


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_an_area_without_variance_has_an_interval_too(value):
    low, high = intervals.auroc_interval(value, 0.0, 20, 30)
    assert 0 <= low <= value <= high <= 1
    assert 0.05 < high - low < 0.5
    assert math.isfinite(low + high)
