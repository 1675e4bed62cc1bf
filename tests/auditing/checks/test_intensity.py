import numpy as np

from tests.auditing.studies import Row, only, passes, study
from tumorboard.auditing.checks.intensity import CHECK
from tumorboard.data.pixels import Pixels


def _shuffled(i: int, brighter: int) -> Pixels:
    """The same greys wherever they are; nothing but brightness tells these pictures apart."""
    pixels = np.arange(4096) % 200 + brighter
    return np.random.default_rng(i).permutation(pixels).astype(np.uint8).reshape(64, 64)


def test_a_brighter_class_is_found() -> None:
    rows = [Row(label="ab"[i % 2], thumbnail=_shuffled(i, 20 * (i % 2))) for i in range(60)]
    found = only(CHECK, study(rows))
    assert found.severity == "warning"
    assert found.numbers["accuracy"] == 1


def test_equal_histograms_pass() -> None:
    assert passes(CHECK, study(Row(label="ab"[i % 2], thumbnail=_shuffled(i, 0)) for i in range(60)))
