import numpy as np

from tests.auditing.studies import Row, only, passes, reason, scene, study
from tumorboard.auditing.checks.near_across import CHECK
from tumorboard.data.pixels import Pixels


def _brighter(seed: int) -> Pixels:
    return (scene(seed) * 0.9).astype(np.uint8)


def test_a_brighter_and_a_turned_copy_in_test_are_found() -> None:
    rows = [
        Row("train", thumbnail=scene(1)),
        Row("test", thumbnail=_brighter(1)),
        Row("train", thumbnail=scene(2)),
        Row("test", thumbnail=np.rot90(scene(2))),
        Row("test"),
    ]
    found = only(CHECK, study(rows))
    assert found.severity == "error"
    assert found.files == (("0000", "0001"), ("0002", "0003"))
    assert found.numbers["test: twins"] == 2


def test_what_is_there_exactly_is_not_told_twice() -> None:
    rows = [
        Row("train", thumbnail=scene(1), digest="one"),
        Row("train", thumbnail=_brighter(1)),
        Row("test", thumbnail=scene(1), digest="one"),
    ]
    assert passes(CHECK, study(rows))


def test_near_twins_within_a_split_and_other_pictures_pass() -> None:
    assert passes(CHECK, study([Row(thumbnail=scene(1)), Row(thumbnail=_brighter(1)), Row("test")]))


def test_one_part_alone_does_not_leak() -> None:
    assert "one part" in reason(CHECK, study([Row(thumbnail=scene(1)), Row(thumbnail=_brighter(1))]))
