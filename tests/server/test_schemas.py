import json

import pytest

from tumorboard.errors import RunFolderError
from tumorboard.run_folder import RunFolder
from tumorboard.server.schemas import (
    ALL_TEST_IMAGES,
    agreement_message,
    prediction_set_message,
    read_test_accuracies,
)

from .fake_server import NAMES, run_folder


@pytest.mark.parametrize(
    ("predictions", "expected"),
    [
        ({"a": "x"}, "The model predicts x."),
        ({"a": "x", "b": "x"}, "All 2 models predict x."),
        ({"a": "x", "b": "y", "c": "y"}, "The models disagree: b and c predict y; a predicts x."),
        (
            {"a": "x", "b": "y", "c": "y", "d": "y"},
            "The models disagree: b, c and d predict y; a predicts x.",
        ),
    ],
)
def test_agreement(predictions, expected):
    assert agreement_message(predictions) == expected


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ([], "Prediction set: empty, no class fits well enough."),
        (["x"], "Prediction set: x; every other class is ruled out at the run's level."),
        (["x", "y"], "Prediction set: x and y cannot be ruled out."),
    ],
)
def test_prediction_set(classes, expected):
    assert prediction_set_message(classes) == expected


def test_each_model_has_its_accuracy_as_given_and_without_leaks(tmp_path):
    accuracies = read_test_accuracies(run_folder(tmp_path))
    assert list(accuracies) == list(NAMES)
    assert [(accuracy.subset, accuracy.n) for accuracy in accuracies["custom"]] == [
        (ALL_TEST_IMAGES, 60),
        ("without twins", 56),
    ]
    assert (accuracies["custom"][0].low, accuracies["custom"][0].high) == (0.68, 0.88)


def test_an_empty_subset_is_not_a_figure(tmp_path):
    run = run_folder(tmp_path)
    content = json.loads(run.metrics.read_text())
    content["test_subsets"]["without twins"]["custom"] = {"n": 0, "accuracy": None}
    run.metrics.write_text(json.dumps(content))
    assert [accuracy.n for accuracy in read_test_accuracies(run)["custom"]] == [60]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"models": {"a": {}}, "test_subsets": {}}'])
def test_a_run_that_is_not_finished_is_one_line(text, tmp_path):
    run = RunFolder(tmp_path)
    if text:
        run.metrics.write_text(text)
    with pytest.raises(RunFolderError, match="tumorboard train"):
        read_test_accuracies(run)
