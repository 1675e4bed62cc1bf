from tests.auditing.studies import Row, only, passes, study
from tumorboard.auditing.checks.several_frames import CHECK
from tumorboard.data.image_headers import Header


def test_files_with_further_frames_are_named() -> None:
    stack = Header("TIFF", "L", 8, several=True)
    found = only(CHECK, study([Row(), Row(header=stack, suffix=".tif")]))
    assert found.files == (("0001",),)
    assert found.severity == "warning"


def test_single_frames_pass() -> None:
    assert passes(CHECK, study([Row(), Row()]))
