from tests.audit.facts import Row, dataset, only, passes, reason
from tumorboard.audit.privacy_checks import burned_in_text, coloured_marks, identifiers, text_in_pixels
from tumorboard.data.dicom.reader import BURNED_IN
from tumorboard.data.image_headers import Header


def test_colour_on_grey_pictures_is_found_and_counted_by_class() -> None:
    rows = [Row(coloured=0.002), Row(label="b", coloured=0.01), Row(label="b")]
    found = only(coloured_marks, dataset(rows))
    assert (found.severity, found.files) == ("warning", (("0000",), ("0001",)))
    assert found.numbers == {"a": 1, "b": 1}


def test_pictures_in_colour_and_stray_pixels_pass() -> None:
    assert passes(coloured_marks, dataset([Row(coloured=0.5, median_spread=40), Row(coloured=19 / 10_000)]))


DICOM = Header("DICOM", "MONOCHROME2", 12)


def test_what_the_reader_noted_is_found() -> None:
    note = "x.dcm: " + BURNED_IN.format("secondary capture")
    found = only(burned_in_text, dataset([Row(header=DICOM), Row(header=DICOM, notes=(note,))]))
    assert (found.severity, found.files) == ("warning", (("0001",),))
    assert "according to their headers" in found.title


def test_other_notes_pass() -> None:
    assert passes(burned_in_text, dataset([Row(header=DICOM, notes=("x.dcm: something else",))]))


def test_burned_in_text_is_not_applicable_without_dicom() -> None:
    assert "no DICOM files, whose headers" in reason(burned_in_text, dataset([Row()]))


def test_elements_are_named_and_counted_but_no_value() -> None:
    named = Header("DICOM", "MONOCHROME2", 12, identifiers=("PatientID", "PatientName"))
    found = only(identifiers, dataset([Row(header=named), Row(header=named), Row()]))
    assert (found.severity, found.files) == ("warning", (("0000",), ("0001",)))
    assert found.numbers == {"PatientID": 2, "PatientName": 2}


def test_empty_headers_pass() -> None:
    assert passes(identifiers, dataset([Row(header=Header("DICOM", "MONOCHROME2", 12))]))


def test_identifiers_are_not_applicable_without_dicom() -> None:
    assert reason(identifiers, dataset([Row()])) == "no DICOM files"


def test_pictures_with_writing_are_found_and_counted_by_class() -> None:
    found = only(
        text_in_pixels, dataset([Row(text_length=3), Row(label="b", text_length=12), Row(label="b")])
    )
    assert (found.severity, found.files) == ("warning", (("0000",), ("0001",)))
    assert found.numbers == {"a": 1, "b": 1}


def test_two_signs_are_no_writing() -> None:
    assert passes(text_in_pixels, dataset([Row(text_length=2)]))
