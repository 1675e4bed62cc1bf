from tests.auditing.studies import Row, only, passes, study
from tumorboard.auditing.checks.exact_labels import CHECK


def test_one_picture_in_two_classes_is_an_error() -> None:
    found = only(
        CHECK, study([Row(label="a", digest="one"), Row(label="b", digest="one"), Row(digest="two")])
    )
    assert (found.severity, found.files) == ("error", (("0000", "0001"),))
    assert "a and b" in found.title


def test_twins_of_one_class_pass() -> None:
    assert passes(CHECK, study([Row(digest="one"), Row("test", digest="one")]))
