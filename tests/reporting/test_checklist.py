import re

from tumorboard import NOTICE
from tumorboard.reporting.card import model_card
from tumorboard.reporting.checklist import OPEN, answers, checklist
from tumorboard.reporting.numbers import of_n

from .test_page import material


def test_every_item_is_filled_in_or_stands_open() -> None:
    one = material()
    rows = [line for line in checklist(one).splitlines() if line.startswith("| ")][2:]
    assert [row.split("|")[1].strip() for row in rows] == [str(n) for n in range(1, 43)]
    assert sum(OPEN in row for row in rows) == 42 - len(answers(one))
    assert all(row.split("|")[3].strip() for row in rows)


def test_every_answer_names_the_file_it_is_from() -> None:
    found = answers(material())
    assert len(found) >= 25
    files = "manifest.csv|metrics.json|audit.json|recipe.toml|environment.json|report.html"
    files += "|test_evaluations.json"
    assert all(re.search(rf" \[({files}|models/\*\.json)\]$", text) for text in found.values())


def test_what_only_the_authors_know_is_not_made_up() -> None:
    assert not {12, 14, 16, 18, 34, 39, 40, 42} & set(answers(material()))


def test_groups_that_are_unknown_are_said_to_be_unchecked() -> None:
    assert "Not checked" in answers(material())[21]
    assert "kept in one part" in answers(material(grouped=True))[21]


def test_the_card_tells_how_good_and_for_what_not() -> None:
    one = material()
    text = model_card(one)
    assert NOTICE in text
    assert f"test: accuracy {of_n(one.scores.accuracy)}" in text
    assert "Diagnosis, and any decision about a patient" in text


def test_names_cannot_end_a_cell() -> None:
    one = material(class_names=("a|b", "c", "d"), command="x | y")
    assert r"a\|b" in checklist(one)
    assert r"x \| y" in checklist(one)
    assert r"a\|b" in model_card(one)
