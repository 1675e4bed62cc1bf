from tests.auditing.studies import Row, only, passes, reason, study
from tumorboard.auditing.checks.groups_across import CHECK


def test_a_patient_in_two_splits_is_an_error() -> None:
    rows = [Row("train", group="p"), Row("test", group="p"), Row("test", group="q"), Row("train")]
    found = only(CHECK, study(rows))
    assert (found.severity, found.files) == ("error", (("0000", "0001"),))
    assert found.numbers == {"groups": 2, "torn": 1, "images": 2}


def test_whole_groups_pass() -> None:
    assert passes(CHECK, study([Row("train", group="p"), Row("train", group="p"), Row("test", group="q")]))


def test_without_groups_or_parts_it_does_not_apply_which_is_not_passing() -> None:
    assert "no groups" in reason(CHECK, study([Row("train"), Row("test")]))
    assert "one part" in reason(CHECK, study([Row(group="p")]))
