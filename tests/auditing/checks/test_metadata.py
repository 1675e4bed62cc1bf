import numpy as np

from tests.auditing.studies import Row, only, passes, reason, study
from tumorboard.auditing.checks.metadata import CHECK
from tumorboard.data.image_headers import Header


def test_clues_that_tell_only_together_are_found() -> None:
    rows = [
        Row(
            label="ab"[i % 2 ^ i // 2 % 2],
            height=(100, 200)[i % 2],
            header=Header("PNG", ("L", "RGB")[i // 2 % 2], 8),
        )
        for i in range(80)
    ]
    assert only(CHECK, study(rows)).numbers["accuracy"] > 0.9


def test_metadata_without_a_class_in_it_pass() -> None:
    rng = np.random.default_rng(0)
    rows = [Row(label="ab"[i % 2], height=int(rng.integers(100, 300))) for i in range(100)]
    assert passes(CHECK, study(rows))


def test_too_few_different_images_are_not_judged() -> None:
    rows = [Row(label="ab"[i % 2], height=100 + i % 2) for i in range(12)]
    assert "fewer than two classes" in reason(CHECK, study(rows))
