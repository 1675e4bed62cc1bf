"""What test says against the recommendation."""

from dataclasses import replace

import numpy as np

from tests.reports.runs import predicted, provenance
from tumorboard.evaluation.selective_prediction import Calibration
from tumorboard.reports.overview import contradicted_by_test
from tumorboard.reports.run_results import RunResults, score_run

HONEST = Calibration(1.0, 0.1, 0.9999, 12, None)
BROKEN = Calibration(1.0, 0.1, 0.01, 12, None)


def reversed_on_test() -> RunResults:
    """A model that is good on validation and bad on test, beside one that is the other way round."""
    good = {s: predicted(s, 9.0) for s in ("train", "valid", "test")}
    bad = {s: replace(p, probabilities=np.roll(p.probabilities, 1, axis=1)) for s, p in good.items()}
    models = {"flatterer": {**good, "test": bad["test"]}, "modest": {**good, "valid": bad["valid"]}}
    return score_run(models, provenance(), calibrations={"flatterer": BROKEN})


def test_what_test_says_against_the_choice_is_told_and_changes_nothing() -> None:
    results = reversed_on_test()
    text = "\n".join(contradicted_by_test(results))
    assert results.recommended == "flatterer"
    assert "On test modest is significantly more accurate than flatterer. " in text
    assert "The differences: modest by 1.000, p = " in text
    assert "Validation accuracy was 1.000" in text
    assert "Confidence on test differs from accuracy by" in text
    assert "hold the true class of 0% of the test images instead of 90%" in text


def test_nothing_is_said_against_a_choice_that_holds() -> None:
    good = {"modest": {s: predicted(s, 9.0) for s in ("train", "valid", "test")}}
    results = score_run(good, provenance(), calibrations={"modest": HONEST})
    assert not list(contradicted_by_test(results))
