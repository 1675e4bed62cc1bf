import re

import pytest

from tests.reports.runs import run_results
from tumorboard import NOTICE
from tumorboard.reports import checklist as claim
from tumorboard.reports import markdown
from tumorboard.reports.checklist import OPEN, answers
from tumorboard.reports.document import in_words
from tumorboard.reports.run_report import model_card, model_card_metadata


def checklist(results):
    return markdown.render(claim.checklist(results))


def card(results):
    return markdown.render(model_card(results))


def test_every_item_is_filled_in_or_stands_open() -> None:
    one = run_results()
    rows = [line for line in checklist(one).splitlines() if line.startswith("| ")][2:]
    assert [row.split("|")[1].strip() for row in rows] == [str(n) for n in range(1, 43)]
    assert sum(OPEN in row for row in rows) == 42 - len(answers(one))
    assert all(row.split("|")[3].strip() for row in rows)


def test_every_answer_names_the_file_it_is_from() -> None:
    found = answers(run_results())
    assert len(found) >= 25
    files = "manifest.csv|metrics.json|audit.json|recipe.toml|environment.json|report.html"
    files += "|test_evaluations.json"
    assert all(re.search(rf" \[({files}|models/\*\.json)\]$", text) for text in found.values())


def test_what_only_the_authors_know_is_not_made_up() -> None:
    assert not {12, 14, 16, 18, 34, 39, 40, 42} & set(answers(run_results()))


def test_groups_that_are_unknown_are_said_to_be_unchecked() -> None:
    assert "was not checked" in answers(run_results())[21]
    assert "No patient is in two splits" in answers(run_results(groups_known=True))[21]


def test_the_card_tells_how_good_and_for_what_not() -> None:
    one = run_results()
    text = card(one)
    assert NOTICE in text
    assert f"test: accuracy {in_words(one.test_scores.accuracy)}" in text
    assert "Diagnosis, and any decision about a patient" in text


def test_the_metadata_of_the_card_are_yaml_and_hold_the_test_metrics() -> None:
    yaml = pytest.importorskip("yaml")
    results = run_results(class_names=("a: |b", "---", "d"))
    start, content, rest = model_card_metadata(results).split("---\n")
    assert (start, rest) == ("", "\n")
    metadata = yaml.safe_load(content)
    assert metadata["library_name"] == "keras"
    assert metadata["pipeline_tag"] == "image-classification"
    (entry,) = metadata["model-index"]
    assert entry["name"] == results.recommended
    values = {metric["type"]: metric["value"] for metric in entry["results"][0]["metrics"]}
    assert values["accuracy"] == results.test_scores.accuracy.value
    assert values["balanced_accuracy"] == results.test_scores.balanced_accuracy.value


def test_names_cannot_end_a_cell() -> None:
    one = run_results(class_names=("a|b", "c", "d"), environment={"command": "x | y"})
    assert r"a\|b" in checklist(one)
    assert r"x \| y" in checklist(one)
    assert r"a\|b" in card(one)
