from tests.auditing.studies import Row, only, passes, study
from tumorboard.auditing.checks.unreadable import CHECK


def test_every_known_problem_is_named() -> None:
    found = only(CHECK, study([Row()], problems=("a.png: damaged", "b.png: empty")))
    assert found.severity == "error"
    assert found.files == (("a.png: damaged",), ("b.png: empty",))
    assert found.numbers == {"files": 2}


def test_no_problem_passes() -> None:
    assert passes(CHECK, study([Row()]))
