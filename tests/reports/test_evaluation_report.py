import json

from tests.predictions_strategies import made
from tumorboard.evaluation.intervals import wilson
from tumorboard.evaluation.patients import PatientRule
from tumorboard.reports import markdown, terminal
from tumorboard.reports.document import cell_text
from tumorboard.reports.evaluation_report import (
    Evaluation,
    evaluation_json,
    evaluation_report,
    evaluation_summary,
)

ONE = Evaluation("Elsewhere", {"mine": made([True] * 5 + [False], [0, 0, 0, 1, 1, 2])})


def test_the_accuracy_of_the_majority_class_stands_beside_the_models() -> None:
    low, high = wilson(3, 6)
    lines = markdown.render(evaluation_report(ONE)).splitlines()
    row = f"| always a | 0.500 ({low:.3f}-{high:.3f}) |"
    assert [line for line in lines if line.startswith("| always a ")] == [row]
    majority = json.loads(evaluation_json(ONE))["majority_class"]
    accuracy = majority["accuracy"]
    assert (majority["class"], accuracy["value"], accuracy["n"]) == ("a", 0.5, 6)


def test_the_summary_fits_a_screen() -> None:
    labels = [0, 1, 2] * 20
    models = {f"seed-{i}: chained": made([i % 7 != j % 7 for j in range(60)], labels) for i in range(12)}
    evaluation = Evaluation(
        "Comparison", models, notes=("A first note. " * 20, "A second note; and more. " * 9)
    )
    lines = terminal.render(evaluation_summary(evaluation)).splitlines()
    assert len(lines) <= 18
    assert max(map(len, lines)) <= 80
    assert "  and 6 more" in lines
    assert "Differences in accuracy (3 of 66), p after Holm's correction" in lines


def test_figures_per_patient_stand_beside_those_per_image() -> None:
    models = {name: made([True] * 5 + [False], [0, 0, 0, 1, 1, 2]) for name in ("mine", "other")}
    first, second, third, *_ = models["mine"].ids
    groups = {first: "p", second: "p", third: "p"}
    rules = {"mine": PatientRule("log_odds", "chosen")}
    evaluation = Evaluation("Elsewhere", models, groups, patient_rules=rules)
    assert evaluation.patients is not None
    accuracy = evaluation.patients.scores["mine"].accuracy
    assert accuracy.n == 4
    text = markdown.render(evaluation_report(evaluation))
    assert "## Per patient" in text
    assert "mine: the mean of the log-odds (chosen); other: the mean of the probabilities" in text
    assert "mine, per patient: each class against the others" in text
    content = json.loads(evaluation_json(evaluation))["patients"]
    assert content["scores"]["mine"]["accuracy"]["value"] == accuracy.value
    assert json.loads(evaluation_json(ONE))["patients"] is None
    summary = terminal.render(evaluation_summary(evaluation))
    assert summary.count("accuracy per") == 1
    assert cell_text(accuracy, with_n=False) in summary
