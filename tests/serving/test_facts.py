import json

import pytest

from tumorboard.errors import RunFolderError
from tumorboard.run_folder import RunFolder
from tumorboard.serving import facts

from .boards import NAMES, run_folder


def test_each_model_has_its_accuracy_as_given_and_without_leaks(tmp_path):
    found = facts.accuracies(run_folder(tmp_path))
    assert list(found) == list(NAMES)
    assert [(one.images, one.n) for one in found["custom"]] == [(facts.AS_GIVEN, 60), ("without twins", 56)]
    assert (found["custom"][0].low, found["custom"][0].high) == (0.68, 0.88)


def test_an_empty_subset_is_not_a_figure(tmp_path):
    run = run_folder(tmp_path)
    content = json.loads(run.metrics.read_text())
    content["test_subsets"]["without twins"]["custom"] = {"n": 0, "accuracy": None}
    run.metrics.write_text(json.dumps(content))
    assert [one.n for one in facts.accuracies(run)["custom"]] == [60]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"models": {"a": {}}, "test_subsets": {}}'])
def test_a_run_that_is_not_finished_is_one_line(text, tmp_path):
    run = RunFolder(tmp_path)
    if text:
        run.metrics.write_text(text)
    with pytest.raises(RunFolderError, match="tumorboard train"):
        facts.accuracies(run)
