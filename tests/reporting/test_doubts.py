from dataclasses import replace

import numpy as np

from tests.reporting.studies import predicted
from tests.reporting.test_page import material
from tumorboard.evaluation.selective_prediction import Calibration
from tumorboard.reporting.doubts import doubts
from tumorboard.reporting.material import Material
from tumorboard.reporting.study import Study

HONEST = Calibration(1.0, 0.1, 0.9999, 12, None)
BROKEN = Calibration(1.0, 0.1, 0.01, 12, None)


def turned() -> Material:
    """A model that is good on validation and bad on test, beside one that is the other way round."""
    one = material()
    good = {s: predicted(s, 9.0) for s in ("train", "valid", "test")}
    bad = {s: replace(p, probabilities=np.roll(p.probabilities, 1, axis=1)) for s, p in good.items()}
    models = {"flatterer": {**good, "test": bad["test"]}, "modest": {**good, "valid": bad["valid"]}}
    study = Study(models, one.study.baselines, one.study.facts, calibrations={"flatterer": BROKEN})
    return replace(one, study=study)


def test_what_test_says_against_the_choice_is_told_and_changes_nothing() -> None:
    one = turned()
    text = "\n".join(doubts(one))
    assert one.recommended == "flatterer"
    assert "On test modest (by 1.000, p = " in text
    assert "Validation promised an accuracy of 1.000" in text
    assert "stated confidence on test is wrong by" in text
    assert "promised to hold the true class in 90 %" in text


def test_nothing_is_said_of_a_choice_that_holds() -> None:
    one = turned()
    calm = {"modest": {s: predicted(s, 9.0) for s in ("train", "valid", "test")}}
    study = Study(calm, one.study.baselines, one.study.facts, calibrations={"modest": HONEST})
    assert not list(doubts(replace(one, study=study)))
