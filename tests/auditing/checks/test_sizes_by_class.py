from tests.auditing.studies import Row, only, passes, study
from tumorboard.auditing.checks.sizes_by_class import CHECK


def test_a_size_that_goes_with_one_class_is_found() -> None:
    rows = [Row(label="ab"[i % 2], height=(100, 200)[i % 2]) for i in range(60)]
    found = only(CHECK, study(rows))
    assert found.severity == "warning"
    assert found.numbers["a: found"] == found.numbers["b: found"] == 1
    assert found.numbers["a: suspected"] == 0


def test_a_size_that_goes_with_no_class_passes() -> None:
    rows = [Row(label="ab"[i // 2 % 2], height=(100, 200)[i % 2]) for i in range(120)]
    assert passes(CHECK, study(rows))


def test_one_size_for_all_passes() -> None:
    assert passes(CHECK, study(Row(label="ab"[i % 2]) for i in range(60)))


def test_the_aspect_ratio_alone_tells_as_well() -> None:
    rows = [Row(label="ab"[i % 2], height=100 + i, width=(100 + i) * (1 + i % 2)) for i in range(60)]
    assert only(CHECK, study(rows)).numbers["a: found"] > 0.9
