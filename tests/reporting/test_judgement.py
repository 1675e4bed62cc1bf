import json

from tests.predictions_strategies import made
from tumorboard.evaluation.intervals import wilson
from tumorboard.reporting.judgement import Judgement, judgement_json, judgement_md

ONE = Judgement("Judged", {"mine": made([True] * 5 + [False], [0, 0, 0, 1, 1, 2])})


def test_what_a_guess_would_score_stands_beside_the_models() -> None:
    low, high = wilson(3, 6)
    cell = f"0.500 ({low:.3f} to {high:.3f}), n = 6"
    lines = judgement_md(ONE).splitlines()
    assert [line for line in lines if line.startswith("| always a ")] == [f"| always a | {cell} |  |  |  |"]
    guess = json.loads(judgement_json(ONE))["guess"]
    assert (guess["class"], guess["accuracy"]["value"], guess["accuracy"]["n"]) == ("a", 0.5, 6)
