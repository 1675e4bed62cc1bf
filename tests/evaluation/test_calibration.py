import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from tumorboard.evaluation import calibration
from tumorboard.predictions import Predictions

from ..predictions_strategies import calibrated, predictions, shuffled


def drawn(seed, n, T=1.0, C=3):
    """Calibrated predictions whose confidence was then raised, so that T is their right temperature."""
    return calibration.scale_predictions(calibrated(np.random.default_rng(seed), n, C), 1 / T)


@pytest.mark.parametrize("T", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_a_model_too_sure_is_found(T):
    assert calibration.fit_temperature(drawn(1, 4000, T)) == pytest.approx(T, rel=0.08)


def test_tempering_lowers_the_loss_and_the_error_of_a_model_that_is_too_sure():
    valid, test = drawn(2, 500, 3.0), drawn(3, 2000, 3.0)
    cooled = calibration.scale_predictions(test, calibration.fit_temperature(valid))
    before, after = calibration.calibration_error(test), calibration.calibration_error(cooled)
    assert before.value > before.null_high
    assert after.value < after.null_high


@given(predictions())
def test_no_temperature_changes_the_predicted_class(one):
    for T in (0.05, 0.3, 1.0, 7.0, 20.0):
        assert calibration.scale_predictions(one, T).predicted.tolist() == one.predicted.tolist()


def test_the_predicted_class_stays_also_where_classes_differ_in_the_last_bit():
    close = np.array([[0.5 - 2**-54, 0.5], [1 / 3, np.nextafter(1 / 3, 1)], [0.5, 0.5]])
    close = np.hstack([close, 1 - close.sum(axis=1, keepdims=True)])
    for T in (0.05, 1.0, 20.0):
        assert (
            calibration.scale_probabilities(close, T).argmax(axis=1).tolist() == close.argmax(axis=1).tolist()
        )


def test_of_few_or_certain_images_a_temperature_stays_in_bounds():
    assert calibration.fit_temperature(Predictions((), np.array([]), ("a", "b"), np.empty((0, 2)))) == 1.0
    sure = Predictions(("x", "y"), np.array([0, 1]), ("a", "b"), np.eye(2))
    assert 0.05 <= calibration.fit_temperature(sure) <= 20
    wrong = Predictions(("x", "y"), np.array([1, 0]), ("a", "b"), np.eye(2))
    assert calibration.fit_temperature(wrong) == pytest.approx(20, rel=0.01)


def test_cross_tempered_images_were_not_in_their_own_fit():
    one = drawn(4, 60, 3.0)
    labels = one.labels.copy()
    labels[7] = (labels[7] + 1) % 3
    other = Predictions(one.ids, labels, one.class_names, one.probabilities)
    changed = calibration.cross_scale_predictions(other).probabilities
    # Dealt by class, so a changed label may move others; the image itself is judged without its label.
    assert changed[7] == pytest.approx(calibration.cross_scale_predictions(one).probabilities[7], abs=0.1)
    assert calibration.cross_scale_predictions(one).predicted.tolist() == one.predicted.tolist()


def test_the_error_is_the_one_of_a_hand_count():
    rows = np.array([[0.95, 0.05], [0.95, 0.05], [0.35, 0.65], [0.4, 0.6]])
    one = Predictions(tuple("wxyz"), np.array([0, 1, 1, 1]), ("a", "b"), rows)
    # (0.9, 1]: 0.95 said, 0.5 right. (0.6, 0.7]: 0.65 said, 1 right. (0.5, 0.6]: 0.6 said, 1 right.
    assert calibration.expected_calibration_error(one) == pytest.approx((2 * 0.45 + 0.35 + 0.4) / 4)
    bins = calibration.reliability(one)
    assert [(b.low, b.accuracy.n, b.accuracy.value) for b in bins] == [
        (0.5, 1, 1),
        (0.6, 1, 1),
        (0.9, 2, 0.5),
    ]
    assert all(b.accuracy.low <= b.accuracy.value <= b.accuracy.high for b in bins)


def test_the_order_of_rows_changes_no_bit():
    one = drawn(5, 120)
    expected = calibration.calibration_error(one)
    for seed in range(50):
        order = np.random.default_rng(seed).permutation(120)
        assert calibration.calibration_error(shuffled(one, order)) == expected
        assert calibration.reliability(shuffled(one, order)) == calibration.reliability(one)


def test_of_no_images_the_error_is_undefined():
    nothing = Predictions((), np.array([]), ("a", "b"), np.empty((0, 2)))
    assert math.isnan(calibration.expected_calibration_error(nothing))
    assert calibration.calibration_error(nothing) == calibration.CalibrationError(None, 0, None, None)


def test_a_calibrated_model_lies_in_the_null_band_and_a_sure_one_above_it():
    """The full count is in benchmarks/coverage.py."""
    inside = [
        e.null_low <= e.value <= e.null_high
        for e in (calibration.calibration_error(drawn(seed, 100)) for seed in range(100))
    ]
    assert 0.87 <= np.mean(inside) <= 1


@pytest.mark.parametrize("copies", [1, 10])
def test_images_of_a_patient_that_are_right_or_wrong_together_widen_the_null_band(copies):
    inside, widened = [], []
    for seed in range(100):
        one = drawn(seed, 100)
        rows = np.repeat(np.arange(100), copies)
        ids = tuple(f"{row}-{number}" for number, row in enumerate(rows))
        images = Predictions(ids, one.labels[rows], one.class_names, one.probabilities[rows])
        alone, grouped = (calibration.calibration_error(images, groups) for groups in (None, rows))
        assert grouped.value == alone.value
        inside.append(grouped.null_low <= grouped.value <= grouped.null_high)
        widened.append(grouped.null_high > 2 * alone.null_high)
        assert copies > 1 or grouped == alone
    assert 0.85 <= np.mean(inside) <= 1
    assert all(widened) == (copies > 1)


@pytest.mark.parametrize("unsure", [0.0, 1e-300, 1e-9])
def test_a_model_that_is_sure_and_wrong_has_a_finite_null_band(unsure):
    rows = np.tile([1 - unsure, unsure], (20, 1))
    images = Predictions(tuple(map(str, range(20))), np.repeat([0, 1], 10), ("a", "b"), rows)
    error = calibration.calibration_error(images, np.arange(20) // 5)
    assert error.value == pytest.approx(0.5)
    assert 0 <= error.null_low <= error.null_high < 0.01


def test_the_images_of_a_patient_are_scaled_by_a_temperature_without_any_of_them():
    one = drawn(4, 60, 2.0)
    groups = np.arange(60) // 3
    rows = np.array(one.probabilities)
    rows[3] = np.roll(rows[3], 1)
    before, after = (
        calibration.cross_scale_predictions(replace(one, probabilities=each), groups).probabilities
        for each in (one.probabilities, rows)
    )
    np.testing.assert_array_equal(before[4:6], after[4:6])  # of the same patient
    assert (before != after).any(axis=1).sum() > 40  # of the others
