from dataclasses import replace

from tests.reporting.test_page import Checker, material
from tumorboard.evaluation.selective_prediction import fit_calibration
from tumorboard.reporting.certainty import with_band
from tumorboard.reporting.material import Material
from tumorboard.reporting.numbers import of_n, shown
from tumorboard.reporting.page import page
from tumorboard.reporting.plots import everything


def calibrated() -> Material:
    one = material()
    found = {name: fit_calibration(by_split["valid"]) for name, by_split in one.study.models.items()}
    return replace(one, study=replace(one.study, calibrations=found))


def test_every_pair_of_models_is_shown_with_its_corrected_p() -> None:
    one = material()
    text = page(one)
    shown_figures = ("accuracy", "balanced_accuracy", "auroc", "loss")
    pairs = [p for p in one.summary.comparisons["test"] if p.metric in shown_figures]
    assert len(pairs) == 4
    for pair in pairs:
        assert f"{pair.first} - {pair.second}" in text
        assert f"{pair.difference:+.3f} ({pair.low:+.3f} to {pair.high:+.3f}), p = {pair.p_holm:.2g}" in text


def test_every_figure_of_test_is_on_the_page() -> None:
    one = material()
    text = page(one)
    for scores in one.summary.models.values():
        found = scores["test"]
        for figure in (found.loss, found.mcc, found.macro_f1, found.auroc, found.auprc, found.brier):
            assert shown(figure) in text
        assert with_band(found.ece) in text
    for share in one.scores.precision.values():
        assert of_n(share) in text


def test_calibration_sets_and_referral_come_from_the_calibration() -> None:
    one = calibrated()
    text = page(one)
    Checker(text)
    for found in one.summary.trusted.values():
        assert with_band(found.scores.ece) in text
        assert all(of_n(kept.accuracy) in text for kept in found.accuracy_by_coverage)
        assert all(of_n(share) in text for share in found.set_coverage.values())
    assert "coverage-accuracy" in everything(one)


def test_a_run_without_calibration_says_so() -> None:
    text = page(material())
    assert "This run holds no calibration" in text
    assert "coverage-accuracy" not in everything(material())
