from tests.auditing.studies import Row, only, passes, reason, study
from tumorboard.auditing.checks.identifiers import CHECK
from tumorboard.data.image_headers import Header


def test_elements_are_named_and_counted_but_no_value() -> None:
    named = Header("DICOM", "MONOCHROME2", 12, identifiers=("PatientID", "PatientName"))
    found = only(CHECK, study([Row(header=named), Row(header=named), Row()]))
    assert (found.severity, found.files) == ("warning", (("0000",), ("0001",)))
    assert found.numbers == {"PatientID": 2, "PatientName": 2}


def test_empty_headers_pass() -> None:
    assert passes(CHECK, study([Row(header=Header("DICOM", "MONOCHROME2", 12))]))


def test_without_dicom_it_does_not_apply() -> None:
    assert reason(CHECK, study([Row()])) == "no DICOM"
