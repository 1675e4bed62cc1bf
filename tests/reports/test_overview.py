"""What test says against the recommendation; figures per patient; whether patients are in two splits."""

from dataclasses import replace

import numpy as np
import pytest

from tests.reports.runs import predicted, provenance, run_results
from tumorboard.evaluation.intervals import proportion
from tumorboard.evaluation.selective_prediction import Calibration
from tumorboard.reports import markdown, terminal
from tumorboard.reports.document import Document, cell_text, in_words
from tumorboard.reports.overview import contradicted_by_test, limitations, overview, patient_independence
from tumorboard.reports.run_report import model_card, run_summary
from tumorboard.reports.run_results import AuditFinding, RunResults, score_run

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


def first_screen(results: RunResults) -> str:
    return markdown.render(Document("", [], [overview(results)]))


def test_where_patients_are_known_their_figures_come_first() -> None:
    results = run_results(patients=1.0, groups_known=True)
    text, name = first_screen(results), results.recommended
    scores, images = results.patients["test"].scores[name], results.test_scores
    assert scores.accuracy.n == 9
    assert text.index("**Test accuracy per patient:**") < text.index("**Test accuracy:**")
    assert f"{in_words(scores.accuracy)}, 8 of 9 patients" in text
    for title, pair in {
        "accuracy": (scores.accuracy, images.accuracy),
        "AUROC": (scores.auroc, images.auroc),
        "ECE (range by chance)": (scores.ece, images.ece),
        "normal: sensitivity": (scores.recall["normal"], images.recall["normal"]),
        "normal: specificity": (scores.specificity["normal"], images.specificity["normal"]),
    }.items():
        cells = [markdown.escaped(cell_text(estimate)) for estimate in pair]
        assert f"| {title} | {' | '.join(cells)} |" in text
    assert "21 images of 9 patients." in text
    assert "the mean of the probabilities (validation has 4 patients of several images" in text
    assert "file names" not in text
    assert "With 9 test patients, the true accuracy may lie between" in text
    summary = terminal.render(run_summary(results))
    assert f"test accuracy per patient {scores.accuracy.value:.3f}" in summary
    assert max(map(len, summary.splitlines())) <= 80
    card = markdown.render(model_card(results))
    assert f"test, per patient: accuracy {in_words(scores.accuracy)}" in card
    assert "No patient is in two splits." in card


def test_the_calibration_error_per_patient_is_of_the_confidence_that_predict_states() -> None:
    results = run_results(patients=1.0, calibrated=True)
    ece = results.patients["test"].scores[results.recommended].ece
    assert ece != run_results(patients=1.0).patients["test"].scores[results.recommended].ece
    cells = [cell_text(each) for each in (ece, results.calibrated_test_scores.ece)]
    assert f"| ECE (range by chance) | {' | '.join(cells)} |" in first_screen(results)


def test_sets_of_patients_that_miss_the_class_too_often_are_a_limitation() -> None:
    results = run_results(patients=1.0, calibrated=True)
    assert "of the test patients instead" not in "\n".join(contradicted_by_test(results))
    low = replace(results.calibration[results.recommended], set_coverage={"all": proportion(9, 17)})
    text = "\n".join(contradicted_by_test(replace(results, patient_calibration={results.recommended: low})))
    assert "hold the true class of 53% of the test patients instead of 90%" in text


def test_where_few_images_have_a_patient_images_come_first() -> None:
    results = run_results(patients=0.5)
    text = first_screen(results)
    assert text.index("**Test accuracy:**") < text.index("**Test accuracy per patient:**")
    assert "Images without a patient: 11, each counted as a patient." in text
    assert "With 21 test images, the true" in text
    assert "test accuracy 0.905" in terminal.render(run_summary(results))


def test_patients_of_file_names_and_of_several_classes_are_said_to_be_so() -> None:
    models = {"custom": {split: predicted(split, 2.0) for split in ("train", "valid", "test")}}
    groups = {f"test/{number}.png": f"name:{number // 6}" for number in range(21)}
    text = first_screen(score_run(models, provenance(), groups=groups))
    assert "21 images of 4 patients, as file names tell them (see TB409), which is evidence" in text
    assert "several classes: 2 (named in metrics.json), each counted once per class." in text


ACROSS = AuditFinding("error", "TB407", "3 of 9 groups are in more than one split", "It recognises them.")
NAMES = AuditFinding("warning", "TB409", "File names tell 9 groups, 3 in more than one split", "Maybe.")


@pytest.mark.parametrize(
    ("made", "findings", "text"),
    [
        ({"groups_known": True}, (), "No patient is in two splits."),
        ({"groups_known": True, "groups_found": True}, (), "No patient is in two splits; file names tell"),
        ({}, (), "was not checked: the data names no patients. Slices"),
        ({}, (NAMES,), "was not checked: the data names no patients; file names tell some. Slices"),
        ({"images_with_group": 40}, (), "checked only for 40 of 93 images. The others"),
        ({"images_with_group": 40, "groups_found": True}, (), "only for 40 of 93 images; file names tell"),
        ({"groups_known": True}, (ACROSS,), "Patients are in several splits: 3 of 9 groups"),
    ],
)
def test_patient_independence_is_what_is_known_of_it(
    made: dict[str, object], findings: tuple[AuditFinding, ...], text: str
) -> None:
    results = run_results(findings=findings, **made)
    assert text in patient_independence(results)
    independent = patient_independence(results) == "No patient is in two splits."
    assert (patient_independence(results) in limitations(results)) is not independent


def test_series_that_no_two_splits_share_are_no_limitation() -> None:
    note = replace(NAMES, severity="note", title="File names tell 9 groups, 0 in more than one split")
    for finding, shared in ((NAMES, True), (note, False)):
        results = run_results(findings=[finding])
        assert any("Series of similar images" in text for text in limitations(results)) is shared
        assert (results.severe_findings == (finding,)) is shared
