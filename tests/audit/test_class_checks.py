import pytest

from tests.audit.facts import Row, dataset, only, passes, reason
from tumorboard.audit.class_checks import class_balance, class_names, class_shift, small_splits
from tumorboard.audit.dataset_facts import DatasetFacts
from tumorboard.data.class_matching import Matching


def _matching(*rows: tuple[str, ...], splits: tuple[str, ...] = ("train", "test")) -> Matching:
    return Matching({}, splits, rows)


def test_folders_of_other_names_are_listed() -> None:
    matching = _matching(("a", "a_left", "a"), ("b", "b", "b"))
    found = only(class_names, dataset([Row()], matching=matching))
    assert (found.severity, found.files) == ("note", (("a_left", "a"),))


def test_equal_names_pass() -> None:
    assert passes(class_names, dataset([Row()], matching=_matching(("a", "a", "a"), ("b", "b", "b"))))


def test_without_knowledge_or_splits_it_does_not_apply() -> None:
    assert "not known" in reason(class_names, dataset([Row()]))
    assert "only one split" in reason(
        class_names, dataset([Row()], matching=_matching(("a", "x"), splits=("",)))
    )


def _balance(a: int, b: int, split: str = "train") -> DatasetFacts:
    return dataset([Row(split, "a")] * a + [Row(split, "b")] * b)


@pytest.mark.parametrize(
    ("large", "small", "severity"), [(10, 5, "note"), (49, 10, "note"), (50, 10, "warning")]
)
def test_unequal_classes_are_found(large: int, small: int, severity: str) -> None:
    found = only(class_balance, _balance(large, small))
    assert found.severity == severity
    assert found.numbers == {"a": large, "b": small}


def test_nearly_equal_classes_pass() -> None:
    assert passes(class_balance, _balance(19, 10))


def test_images_of_no_part_yet_count_and_those_of_test_do_not() -> None:
    assert only(class_balance, _balance(10, 5, "")).severity == "note"
    assert passes(class_balance, _balance(50, 1, "test"))


def _splits(train: tuple[int, int], test: tuple[int, int]) -> DatasetFacts:
    return dataset(
        Row(split, label)
        for split, counts in (("train", train), ("test", test))
        for label, n in zip("ab", counts, strict=True)
        for _ in range(n)
    )


def test_a_large_shift_is_a_warning_and_a_small_one_a_note() -> None:
    assert only(class_shift, _splits((200, 200), (160, 40))).severity == "warning"
    found = only(class_shift, _splits((1000, 1000), (600, 400)))
    assert found.severity == "note"
    assert found.numbers == {"train: a": 1000, "train: b": 1000, "test: a": 600, "test: b": 400}


def test_what_chance_may_do_passes() -> None:
    assert passes(class_shift, _splits((20, 20), (13, 7)))
    assert passes(class_shift, _splits((100, 50), (50, 25)))


def test_one_part_alone_cannot_shift() -> None:
    assert "only one split" in reason(class_shift, dataset([Row(), Row(label="b")]))


def test_small_parts_are_named_with_the_interval_that_they_allow() -> None:
    rows = [Row()] * 5 + [Row("valid")] * 72 + [Row("test")] * 100
    found = only(small_splits, dataset(rows))
    assert found.severity == "note"
    assert found.numbers == {"images": 72, "low": 0.6997, "high": 0.8805}


def test_a_handful_is_a_warning() -> None:
    assert only(small_splits, dataset([Row("test")] * 29)).severity == "warning"


def test_large_parts_pass_and_no_parts_do_not_apply() -> None:
    assert passes(small_splits, dataset([Row("test")] * 100))
    assert "no valid or test split" in reason(small_splits, dataset([Row(), Row("")]))
