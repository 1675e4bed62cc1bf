from tests.auditing.studies import Row, only, passes, study
from tumorboard.auditing.checks.writing import CHECK


def test_pictures_with_writing_are_found_and_counted_by_class() -> None:
    found = only(CHECK, study([Row(signs_in_a_row=3), Row(label="b", signs_in_a_row=12), Row(label="b")]))
    assert (found.severity, found.files) == ("warning", (("0000",), ("0001",)))
    assert found.numbers == {"a": 1, "b": 1}


def test_two_signs_are_no_writing() -> None:
    assert passes(CHECK, study([Row(signs_in_a_row=2)]))
