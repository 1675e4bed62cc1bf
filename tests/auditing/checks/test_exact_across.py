from tests.auditing.studies import Row, only, passes, reason, study
from tumorboard.auditing.checks.exact_across import CHECK


def test_test_images_known_from_train_or_valid_are_counted_by_class() -> None:
    rows = [
        Row("train", "a", digest="one"),
        Row("valid", "b", digest="two"),
        Row("test", "a", digest="one"),
        Row("test", "b", digest="two"),
        Row("test", "b", digest="two"),
        Row("test", "b"),
    ]
    found = only(CHECK, study(rows))
    assert found.severity == "error"
    assert (
        found.title == "identical pixels: 3 of 4 test images are in train or valid too (1 of 1 a, 2 of 3 b)"
    )
    assert found.files == (("0000", "0002"), ("0001", "0003", "0004"))
    assert found.numbers == {
        "test: a": 1, "test: b": 2, "test: twins": 3, "test: all": 4, "valid: twins": 0, "valid: all": 1,
    }  # fmt: skip


def test_twins_within_one_split_are_no_leak() -> None:
    rows = [Row("train", digest="one"), Row("train", digest="one"), Row("test")]
    assert passes(CHECK, study(rows))


def test_one_part_alone_does_not_leak() -> None:
    assert "one part" in reason(CHECK, study([Row(digest="one"), Row(digest="one")]))
