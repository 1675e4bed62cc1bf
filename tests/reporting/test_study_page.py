from tests.reporting.studies import predicted
from tests.reporting.test_page import Checker
from tumorboard import NOTICE
from tumorboard.evaluation.scores import evaluate
from tumorboard.reporting.study_page import study_page


def test_every_spread_and_every_interval_of_the_folds_is_shown() -> None:
    held = evaluate(predicted("train", 2.0)).to_dict()
    seeds = {"<b> test accuracy": {"n": 2, "mean": 0.5, "sd": 0.25, "low": 0.375, "high": 0.625}}
    text = study_page({"folds": {"a": held}, "ways_to_combine": {}, "seeds": seeds})
    Checker(text)
    assert NOTICE in text
    assert "<b>" not in text
    assert "0.375 to 0.625" in text
    share = held["accuracy"]
    assert f"{share['value']:.3f} ({share['low']:.3f} to {share['high']:.3f}), n = {share['n']}" in text


def test_one_seed_has_no_spread() -> None:
    seeds = {"a": {"n": 1, "mean": 0.5, "sd": None, "low": 0.5, "high": 0.5}}
    assert "n/a" in study_page({"folds": {}, "ways_to_combine": {}, "seeds": seeds})
