from tests.auditing.studies import Row, only, passes, reason, study
from tumorboard.auditing.checks.class_shift import CHECK
from tumorboard.auditing.study import Study


def _study(train: tuple[int, int], test: tuple[int, int]) -> Study:
    return study(
        Row(split, label)
        for split, counts in (("train", train), ("test", test))
        for label, n in zip("ab", counts, strict=True)
        for _ in range(n)
    )


def test_a_large_shift_is_a_warning_and_a_small_one_a_note() -> None:
    assert only(CHECK, _study((200, 200), (160, 40))).severity == "warning"
    found = only(CHECK, _study((1000, 1000), (600, 400)))
    assert found.severity == "note"
    assert found.numbers == {"train: a": 1000, "train: b": 1000, "test: a": 600, "test: b": 400}


def test_what_chance_may_do_passes() -> None:
    assert passes(CHECK, _study((20, 20), (13, 7)))
    assert passes(CHECK, _study((100, 50), (50, 25)))


def test_one_part_alone_cannot_shift() -> None:
    assert "one part" in reason(CHECK, study([Row(), Row(label="b")]))
