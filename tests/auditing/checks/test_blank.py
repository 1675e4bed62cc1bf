import numpy as np

from tests.auditing.studies import Row, only, passes, scene, study
from tumorboard.auditing.checks.blank import CHECK


def test_flat_and_nearly_black_images_are_found() -> None:
    flat, dark = np.full((64, 64), 130, np.uint8), scene(1) // 20
    found = only(CHECK, study([Row(), Row(thumbnail=flat), Row(thumbnail=dark)]))
    assert (found.severity, found.files) == ("warning", (("0001",), ("0002",)))


def test_faint_structure_is_not_blank() -> None:
    assert passes(CHECK, study([Row(thumbnail=100 + scene(1) // 20)]))
