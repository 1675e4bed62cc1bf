import pytest

from tumorboard.errors import DataError
from tumorboard.evaluation.scores import evaluate
from tumorboard.predictions import Predictions
from tumorboard.reporting.study import Study, summarise

from .studies import facts, predicted, study

WHOLE = {split: predicted(split, 2) for split in ("train", "valid", "test")}


def test_summaries_are_the_scores_of_the_predictions():
    one = study()
    summary = summarise(one)
    for name, by_split in one.models.items():
        for split, predictions in by_split.items():
            assert summary.models[name][split] == evaluate(predictions)
    assert summary.baselines["majority class"]["test"].accuracy.value == pytest.approx(10 / 21)
    found = summary.description_scores["custom"]
    accuracies = [summary.models["custom"][split].accuracy.value for split in ("train", "valid", "test")]
    assert found.balance == pytest.approx(1 - (max(accuracies) - min(accuracies)))


def test_no_test_figure_moves_the_recommendation_or_a_verdict():
    first, second = (summarise(study(test_seed=seed)) for seed in (0, 99))
    assert first.models["custom"]["test"] != second.models["custom"]["test"]
    assert first.recommendation == second.recommendation
    assert first.verdicts == second.verdicts


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_models_scored_on_other_samples_are_refused(split):
    one = WHOLE[split]
    stranger = Predictions(("stranger", *one.ids[1:]), one.labels, one.class_names, one.probabilities)
    with pytest.raises(DataError, match=f"a-{split} and b-{split}.*'stranger'"):
        Study({"a": WHOLE, "b": WHOLE | {split: stranger}}, {}, facts())


def test_a_missing_split_and_no_model_are_refused():
    with pytest.raises(DataError, match=r"predictions of a on train, valid, test; lacking: \['test'\]"):
        Study({"a": {"train": WHOLE["train"], "valid": WHOLE["valid"]}}, {}, facts())
    with pytest.raises(DataError, match="at least one model"):
        Study({}, {}, facts())


def test_an_empty_split_is_refused():
    one = WHOLE["test"]
    empty = Predictions((), one.labels[:0], one.class_names, one.probabilities[:0])
    with pytest.raises(DataError, match="lacking"):
        Study({"a": WHOLE | {"test": empty}}, {}, facts())
