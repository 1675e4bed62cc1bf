from tests.auditing.studies import Row, only, passes, study
from tumorboard.auditing.checks.exact_within import CHECK


def test_repeats_are_counted_by_split_and_class() -> None:
    rows = (
        [Row(digest="one")] * 3
        + [Row("test", "b", digest="two")] * 2
        + [Row("test", "b", digest="one"), Row()]
    )
    found = only(CHECK, study(rows))
    assert found.severity == "warning"
    assert found.numbers == {"test: b": 1, "train: a": 2}
    assert "3 of 7 images" in found.title
    assert found.files == (("0000", "0001", "0002", "0005"), ("0003", "0004"))


def test_one_of_each_a_split_passes() -> None:
    assert passes(CHECK, study([Row(digest="one"), Row("test", digest="one")]))
