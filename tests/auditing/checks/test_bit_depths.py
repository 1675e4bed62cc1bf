from tests.auditing.studies import Row, only, passes, study
from tumorboard.auditing.checks.bit_depths import CHECK
from tumorboard.data.image_headers import Header


def test_a_depth_that_goes_with_one_class_is_found() -> None:
    rows = [Row(label="ab"[i % 2], header=Header("PNG", "L", (8, 16)[i % 2])) for i in range(60)]
    found = only(CHECK, study(rows))
    assert found.severity == "warning"
    assert found.numbers["a: found"] == found.numbers["b: found"] == 1
    assert found.numbers["a: suspected"] == 0


def test_a_depth_that_goes_with_no_class_passes() -> None:
    rows = [Row(label="ab"[i // 2 % 2], header=Header("PNG", "L", (8, 16)[i % 2])) for i in range(120)]
    assert passes(CHECK, study(rows))


def test_one_depth_for_all_passes() -> None:
    assert passes(CHECK, study(Row(label="ab"[i % 2]) for i in range(60)))
