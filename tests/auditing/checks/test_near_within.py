import numpy as np

from tests.auditing.studies import Row, only, passes, scene, study
from tumorboard.auditing.checks.near_within import CHECK
from tumorboard.data.pixels import Pixels


def _brighter(seed: int) -> Pixels:
    return (scene(seed) * 0.9).astype(np.uint8)


def test_near_twins_are_counted_without_their_exact_copies() -> None:
    rows = [
        Row(thumbnail=scene(1), digest="one"),
        Row(thumbnail=scene(1), digest="one"),
        Row(thumbnail=_brighter(1)),
    ]
    found = only(CHECK, study(rows))
    assert found.numbers == {"train: a": 1}
    assert found.files == (("0000", "0002"),)


def test_exact_twins_alone_pass() -> None:
    assert passes(
        CHECK, study([Row(thumbnail=scene(1), digest="one"), Row(thumbnail=scene(1), digest="one")])
    )
