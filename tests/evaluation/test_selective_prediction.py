import json

import numpy as np
import pytest

from tumorboard.evaluation import selective_prediction
from tumorboard.evaluation.selective_prediction import Calibration
from tumorboard.predictions import Predictions

from ..predictions_strategies import made
from .test_calibration import drawn


def test_a_calibration_comes_back_from_json():
    for one in (Calibration(1.5, 0.1, 0.7, 40, 0.6, 12.5), Calibration(1.0, 0.1, None, 3, None)):
        assert Calibration.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_fitted_on_validation_it_holds_on_other_images():
    fitted = selective_prediction.fit_calibration(drawn(1, 800, 3.0))
    found = selective_prediction.calibrated_performance(drawn(2, 2000, 3.0), fitted)
    assert fitted.temperature == pytest.approx(3, rel=0.15)
    assert (
        found.scores.loss.value
        < 0.9
        * selective_prediction.calibrated_performance(
            drawn(2, 2000, 3.0), Calibration(1, 0.1, None, 0, None)
        ).scores.loss.value
    )
    assert found.set_coverage["all"].value == pytest.approx(0.9, abs=0.03)
    assert set(found.set_coverage) == {"all", "class a", "class b", "class c"}
    assert sum(found.set_sizes.values()) == 2000
    assert found.selective_accuracy.low < selective_prediction.TARGET_ACCURACY < found.selective_accuracy.high
    assert found.selective_accuracy.value > found.accuracy_by_coverage[0].accuracy.value + 0.2


def test_the_surer_a_model_must_be_the_fewer_it_answers():
    found = selective_prediction.calibrated_performance(drawn(3, 500), Calibration(1.0, 0.1, None, 0, None))
    assert [round(one.coverage, 1) for one in found.accuracy_by_coverage] == [1, 0.9, 0.8, 0.7, 0.6, 0.5]
    assert found.accuracy_by_coverage[-1].accuracy.value > found.accuracy_by_coverage[0].accuracy.value
    assert (found.set_coverage, found.set_sizes, found.selective_accuracy) == ({}, {}, None)


def test_equally_sure_images_are_kept_or_referred_together():
    one = made(np.arange(30) < 29, np.zeros(30, int))
    assert [part.coverage for part in selective_prediction.accuracy_by_coverage(one)] == [1.0] * 6
    assert selective_prediction.referral_threshold(one) == pytest.approx(0.8)


def test_a_model_that_is_never_right_enough_has_no_threshold():
    assert selective_prediction.referral_threshold(made(np.arange(30) % 2 == 0, np.zeros(30, int))) is None
    assert selective_prediction.referral_threshold(made([True] * 19, [0] * 19)) is None


def test_intervals_of_calibrated_figures_take_patients_as_the_units():
    patient = drawn(3, 60)
    rows = np.repeat(np.arange(60), 5)
    ids = tuple(f"{n}-{row}" for n, row in enumerate(rows))
    copies = Predictions(ids, patient.labels[rows], patient.class_names, patient.probabilities[rows])
    groups = {name: name.split("-")[1] for name in ids}
    fitted = Calibration(1.0, 0.1, 0.8, 40, 0.5)
    alone, together = (
        selective_prediction.calibrated_performance(copies, fitted, known) for known in ({}, groups)
    )
    for figure in (
        lambda found: found.set_coverage["all"],
        lambda found: found.accuracy_by_coverage[0].accuracy,
        lambda found: found.selective_accuracy,
        lambda found: found.scores.accuracy,
    ):
        narrow, wide = figure(alone), figure(together)
        assert (narrow.value, narrow.n) == (wide.value, wide.n)
        assert wide.high - wide.low > 1.8 * (narrow.high - narrow.low)  # five copies: about the root of 5
