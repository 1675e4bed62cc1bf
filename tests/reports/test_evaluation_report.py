import json

from tests.predictions_strategies import made
from tumorboard.evaluation.intervals import wilson
from tumorboard.reports import markdown
from tumorboard.reports.evaluation_report import Evaluation, evaluation_json, evaluation_report

ONE = Evaluation("Elsewhere", {"mine": made([True] * 5 + [False], [0, 0, 0, 1, 1, 2])})


def test_the_accuracy_of_the_majority_class_stands_beside_the_models() -> None:
    low, high = wilson(3, 6)
    lines = markdown.render(evaluation_report(ONE)).splitlines()
    row = f"| always a | 0.500 ({low:.3f}-{high:.3f}) |  |  |  |"
    assert [line for line in lines if line.startswith("| always a ")] == [row]
    majority = json.loads(evaluation_json(ONE))["majority_class"]
    accuracy = majority["accuracy"]
    assert (majority["class"], accuracy["value"], accuracy["n"]) == ("a", 0.5, 6)
