from tests.reports.runs import run_results
from tumorboard.reports import markdown
from tumorboard.reports.document import cell_text, in_words
from tumorboard.reports.run_report import run_report


def test_calibration_sets_and_referral_come_from_the_calibration() -> None:
    results = run_results(calibrated=True)
    document = run_report(results)
    text = markdown.render(document)
    for name, one in results.calibration.items():
        assert cell_text(one.scores.ece) in text
        for kept in one.accuracy_by_coverage:
            assert cell_text(kept.accuracy, with_n=False) in text
        for share in one.set_coverage.values():
            assert cell_text(share, with_n=False) in text
        if name == results.recommended and one.selective_accuracy:
            assert in_words(one.selective_accuracy) in text
    assert "coverage-accuracy" in document.charts


def test_a_run_without_calibration_says_so() -> None:
    document = run_report(run_results())
    assert "This run holds no calibration" in markdown.render(document)
    assert "coverage-accuracy" not in document.charts
