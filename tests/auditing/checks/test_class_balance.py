import pytest

from tests.auditing.studies import Row, only, passes, study
from tumorboard.auditing.checks.class_balance import CHECK
from tumorboard.auditing.study import Study


def _study(a: int, b: int, split: str = "train") -> Study:
    return study([Row(split, "a")] * a + [Row(split, "b")] * b)


@pytest.mark.parametrize(
    ("large", "small", "severity"), [(10, 5, "note"), (49, 10, "note"), (50, 10, "warning")]
)
def test_unequal_classes_are_found(large: int, small: int, severity: str) -> None:
    found = only(CHECK, _study(large, small))
    assert found.severity == severity
    assert found.numbers == {"a": large, "b": small}


def test_nearly_equal_classes_pass() -> None:
    assert passes(CHECK, _study(19, 10))


def test_images_of_no_part_yet_count_and_those_of_test_do_not() -> None:
    assert only(CHECK, _study(10, 5, "")).severity == "note"
    assert passes(CHECK, _study(50, 1, "test"))
