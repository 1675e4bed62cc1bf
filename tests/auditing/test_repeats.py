from tests.auditing.studies import Row, study
from tumorboard.auditing import pairs, repeats


def test_the_class_with_most_repeats_is_named() -> None:
    rows = [Row("train", "a", digest="one")] * 3 + [Row("test", "b", digest="two")] * 2 + [Row("train", "a")]
    facts = study(rows)
    (found,) = repeats.within_splits(facts, pairs.groups(facts, "exact"), "pictures")
    assert found.title == (
        "pictures more than once: 3 of 6 images repeat another of their split, among them 2 of 4 a of train"
    )


def test_data_without_parts_is_one_part() -> None:
    facts = study([Row("", digest="one"), Row("", digest="one")])
    (found,) = repeats.within_splits(facts, pairs.groups(facts, "exact"), "pictures")
    assert found.numbers == {"all: a": 1}


def test_no_group_is_no_finding() -> None:
    assert repeats.within_splits(study([Row()]), (), "pictures") == ()
