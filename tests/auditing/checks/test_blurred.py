import numpy as np

from tests.auditing.studies import Row, only, passes, scene, study
from tumorboard.auditing.checks.blurred import CHECK
from tumorboard.data.pixels import Pixels


def _picture(i: int, brighter: int) -> Pixels:
    picture = scene(i) // 2
    picture[:32] += np.uint8(brighter)
    return picture


def test_a_class_that_is_told_by_coarse_brightness_is_found() -> None:
    rows = [Row(label="ab"[i % 2], thumbnail=_picture(i, 100 * (i % 2))) for i in range(120)]
    found = only(CHECK, study(rows))
    assert found.severity == "warning"
    assert found.numbers["accuracy, low"] > found.numbers["chance"]


def test_a_fine_pattern_is_blurred_away() -> None:
    checks = 20 * (np.indices((64, 64)).sum(axis=0) % 2)
    rows = []
    for i in range(120):
        pattern = checks if i % 2 else 20 - checks
        rows.append(Row(label="ab"[i % 2], thumbnail=(scene(i) // 2 + pattern).astype(np.uint8)))
    assert passes(CHECK, study(rows))
