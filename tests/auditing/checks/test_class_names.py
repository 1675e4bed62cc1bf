from tests.auditing.studies import Row, only, passes, reason, study
from tumorboard.auditing.checks.class_names import CHECK
from tumorboard.data.class_matching import Matching


def _matching(*rows: tuple[str, ...], splits: tuple[str, ...] = ("train", "test")) -> Matching:
    return Matching({}, splits, rows)


def test_folders_of_other_names_are_listed() -> None:
    matching = _matching(("a", "a_left", "a"), ("b", "b", "b"))
    found = only(CHECK, study([Row()], matching=matching))
    assert (found.severity, found.files) == ("note", (("a_left", "a"),))


def test_equal_names_pass() -> None:
    assert passes(CHECK, study([Row()], matching=_matching(("a", "a", "a"), ("b", "b", "b"))))


def test_without_knowledge_or_splits_it_does_not_apply() -> None:
    assert "not known" in reason(CHECK, study([Row()]))
    assert "one part" in reason(CHECK, study([Row()], matching=_matching(("a", "x"), splits=("",))))
