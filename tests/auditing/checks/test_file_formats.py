from tests.auditing.studies import Row, only, passes, study
from tumorboard.auditing.checks.file_formats import CHECK
from tumorboard.data.image_headers import Header


def test_a_format_that_goes_with_one_class_is_found() -> None:
    rows = [Row(label="ab"[i % 2], header=Header(("PNG", "JPEG")[i % 2], "L", 8)) for i in range(60)]
    found = only(CHECK, study(rows))
    assert found.severity == "warning"
    assert found.numbers["a: found"] == found.numbers["b: found"] == 1
    assert found.numbers["a: suspected"] == 0


def test_a_format_that_goes_with_no_class_passes() -> None:
    rows = [Row(label="ab"[i // 2 % 2], header=Header(("PNG", "JPEG")[i % 2], "L", 8)) for i in range(120)]
    assert passes(CHECK, study(rows))


def test_one_format_for_all_passes() -> None:
    assert passes(CHECK, study(Row(label="ab"[i % 2]) for i in range(60)))
