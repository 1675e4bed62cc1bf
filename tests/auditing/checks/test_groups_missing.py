from tests.auditing.studies import Row, only, passes, study
from tumorboard.auditing.checks.groups_missing import CHECK


def test_images_without_a_group_are_counted() -> None:
    found = only(CHECK, study([Row(), Row(group="p"), Row()]))
    assert found.severity == "note"
    assert found.numbers == {"without": 2, "images": 3}
    assert "patient independence not checked" in found.title


def test_groups_everywhere_pass() -> None:
    assert passes(CHECK, study([Row(group="p"), Row(group="q")]))
