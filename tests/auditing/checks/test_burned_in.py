from tests.auditing.studies import Row, only, passes, reason, study
from tumorboard.auditing.checks.burned_in import CHECK
from tumorboard.data.dicom.picture import BURNED_IN
from tumorboard.data.image_headers import Header

DICOM = Header("DICOM", "MONOCHROME2", 12)


def test_what_the_reader_noted_is_found() -> None:
    note = "x.dcm: " + BURNED_IN.format("secondary capture")
    found = only(CHECK, study([Row(header=DICOM), Row(header=DICOM, notes=(note,))]))
    assert (found.severity, found.files) == ("warning", (("0001",),))
    assert "by their headers" in found.title


def test_other_notes_pass() -> None:
    assert passes(CHECK, study([Row(header=DICOM, notes=("x.dcm: something else",))]))


def test_without_dicom_it_does_not_apply() -> None:
    assert "no header says" in reason(CHECK, study([Row()]))
