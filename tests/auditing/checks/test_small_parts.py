from tests.auditing.studies import Row, only, passes, reason, study
from tumorboard.auditing.checks.small_parts import CHECK


def test_small_parts_are_named_with_the_interval_that_they_allow() -> None:
    rows = [Row()] * 5 + [Row("valid")] * 72 + [Row("test")] * 100
    found = only(CHECK, study(rows))
    assert found.severity == "note"
    assert found.numbers == {"images": 72, "low": 0.6997, "high": 0.8805}


def test_a_handful_is_a_warning() -> None:
    assert only(CHECK, study([Row("test")] * 29)).severity == "warning"


def test_large_parts_pass_and_no_parts_do_not_apply() -> None:
    assert passes(CHECK, study([Row("test")] * 100))
    assert "no valid or test" in reason(CHECK, study([Row(), Row("")]))
