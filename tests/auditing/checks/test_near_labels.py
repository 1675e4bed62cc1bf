import numpy as np

from tests.auditing.studies import Row, only, passes, scene, study
from tumorboard.auditing.checks.near_labels import CHECK
from tumorboard.data.pixels import Pixels


def _brighter(seed: int) -> Pixels:
    return (scene(seed) * 0.9).astype(np.uint8)


def test_near_twins_of_two_classes_are_found() -> None:
    found = only(CHECK, study([Row(label="a", thumbnail=scene(1)), Row(label="b", thumbnail=_brighter(1))]))
    assert (found.severity, found.files) == ("warning", (("0000", "0001"),))


def test_near_twins_of_one_class_pass() -> None:
    assert passes(CHECK, study([Row(thumbnail=scene(1)), Row(thumbnail=_brighter(1))]))
