"""The record of a run, and metrics.json."""

import json

import pytest

from tests.reports.runs import all_predictions, predicted, provenance, run_results
from tumorboard import NOTICE
from tumorboard.errors import DataError
from tumorboard.evaluation.scores import score
from tumorboard.predictions import Predictions
from tumorboard.reports.run_results import metrics_json, score_run

WHOLE = {split: predicted(split, 2) for split in ("train", "valid", "test")}


def test_scores_are_those_of_the_predictions():
    results = run_results()
    for name, by_split in results.predictions.items():
        for split, predictions in by_split.items():
            assert results.scores[name][split] == score(predictions)
    assert results.baselines["majority class"]["test"].accuracy.value == pytest.approx(10 / 21)
    found = results.description_scores["custom"]
    accuracies = [results.scores["custom"][split].accuracy.value for split in ("train", "valid", "test")]
    assert found.balance == pytest.approx(1 - (max(accuracies) - min(accuracies)))


def test_no_test_result_changes_the_recommendation_or_a_verdict():
    first, second = (run_results(test_seed=seed) for seed in (0, 99))
    assert first.scores["custom"]["test"] != second.scores["custom"]["test"]
    assert first.recommendation == second.recommendation
    assert first.fit_verdicts == second.fit_verdicts


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_models_scored_on_other_samples_are_refused(split):
    one = WHOLE[split]
    stranger = Predictions(("stranger", *one.ids[1:]), one.labels, one.class_names, one.probabilities)
    with pytest.raises(DataError, match=f"a-{split} and b-{split}.*'stranger'"):
        score_run({"a": WHOLE, "b": WHOLE | {split: stranger}}, provenance())


def test_a_missing_split_and_no_model_are_refused():
    with pytest.raises(DataError, match=r"predictions of a on train, valid, test; missing: \['test'\]"):
        score_run({"a": {"train": WHOLE["train"], "valid": WHOLE["valid"]}}, provenance())
    with pytest.raises(DataError, match="at least one model"):
        score_run({}, provenance())


def test_an_empty_split_is_refused():
    one = WHOLE["test"]
    empty = Predictions((), one.labels[:0], one.class_names, one.probabilities[:0])
    with pytest.raises(DataError, match="missing"):
        score_run({"a": WHOLE | {"test": empty}}, provenance())


def test_the_json_has_its_version_and_the_notice():
    content = json.loads(metrics_json(run_results()))
    assert content["format_version"] == 3
    assert content["notice"] == NOTICE
    assert content["class_names"] == ["adenocarcinoma", "normal", "squamous"]


def test_the_json_s_numbers_are_those_of_the_predictions_to_the_last_bit():
    content = json.loads(metrics_json(run_results()))
    for name, by_split in all_predictions().items():
        for split, predictions in by_split.items():
            assert content["models"][name]["splits"][split] == score(predictions).to_dict()
    for name, by_split in run_results().baselines.items():
        for split, scores in by_split.items():
            assert content["baselines"][name]["splits"][split] == scores.to_dict()


def numbers(content, path=()):
    """The path of every number of a JSON text."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from numbers(value, (*path, key))
    elif isinstance(content, list):
        for value in content:
            yield from numbers(value, path)
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield path


BESIDE = {"n", "groups", "low", "high", "null_low", "null_high", "p", "p_holm", "p_value"}
SETTINGS = {
    *("format_version", "seed", "temperature", "conformal", "refer_below", "unlike", "ood_threshold"),
    *("set_sizes", "coverage", "confidence"),
}
DESCRIPTION = {"balance", "average", "composite"}  # of accuracies that have their intervals


def test_no_number_of_the_json_is_without_its_n_and_its_interval():
    content = json.loads(metrics_json(run_results(calibrated=True)))
    ends = {path[-1] for path in numbers(content) if not SETTINGS & set(path)}
    assert ends - BESIDE - DESCRIPTION == {"value", "difference"}
    for one in estimates(content):
        assert {"n", "low", "high"} <= set(one) or {"n", "null_low", "null_high"} <= set(one)
        assert one["value"] is None or one.get("low", one.get("null_low")) is not None or one["note"]
        if one["value"] is not None and one.get("low") is not None:
            assert one["low"] <= one["value"] <= one["high"]


def estimates(content):
    if isinstance(content, dict):
        if "value" in content:
            yield content
        for one in content.values():
            yield from estimates(one)


def test_a_class_that_validation_lacks_is_null_and_not_nan():
    text = metrics_json(run_results())
    assert "NaN" not in text
    assert json.loads(text)["models"]["custom"]["splits"]["valid"]["recall"]["squamous"]["value"] is None


def test_equal_predictions_give_equal_json_however_long_the_run_took():
    slower = run_results(seconds={"training": 1.0}, environment={"keras": "4"})
    assert metrics_json(run_results()) == metrics_json(slower)


def test_the_description_scores_are_marked_as_containing_test_results():
    content = json.loads(metrics_json(run_results()))
    assert content["models"]["custom"]["description_scores"]["contains_test_results"] is True


@pytest.mark.parametrize("split", ["test", "valid"])
def test_a_subset_is_scored_on_its_own_ids_alone(split):
    kept = {*(f"{split}/{number}.png" for number in (0, 3, 5)), "not/there.png"}
    results = run_results(subsets={split: {"without near duplicates": kept}})
    scored = json.loads(metrics_json(results))[f"{split}_subsets"]["without near duplicates"]
    for name, by_split in results.predictions.items():
        part = by_split[split]
        rows = [row for row, sample in enumerate(part.ids) if sample in kept]
        right = sum(part.predicted[row] == part.labels[row] for row in rows)
        assert scored[name]["n"] == len(rows) == 3
        assert scored[name]["accuracy"]["value"] == pytest.approx(right / 3)
    assert set(scored) == {*results.predictions, *results.baselines}


def test_an_empty_test_subset_is_undefined_and_not_an_error():
    scored = json.loads(metrics_json(run_results(subsets={"test": {"nothing left": ()}})))["test_subsets"]
    assert scored["nothing left"]["custom"]["n"] == 0
    assert scored["nothing left"]["custom"]["accuracy"]["value"] is None


def test_the_json_has_the_scores_per_patient_and_how_images_are_combined():
    results = run_results(patients=1.0)
    content = json.loads(metrics_json(results))["patients"]
    assert set(content) == {"train", "valid", "test"}
    for name, scores in results.patients["test"].scores.items():
        assert content["test"]["scores"][name] == scores.to_dict()
    assert content["test"]["rules"]["custom"]["method"] == "mean"
    assert (content["test"]["patients"], content["test"]["images"], content["test"]["alone"]) == (9, 21, 0)
    assert json.loads(metrics_json(run_results()))["patients"] == {}
