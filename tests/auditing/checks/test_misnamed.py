from tests.auditing.studies import Row, only, passes, study
from tumorboard.auditing.checks.misnamed import CHECK
from tumorboard.data.image_headers import Header


def test_names_that_promise_another_format_are_found_and_counted() -> None:
    jpeg, png = Header("JPEG", "L", 8), Header("PNG", "L", 8)
    rows = [Row(header=jpeg), Row(header=jpeg), Row(header=png, suffix=".tif"), Row(header=png)]
    found = only(CHECK, study(rows))
    assert found.files == (("0000",), ("0001",), ("0002",))
    assert found.numbers == {"JPEG named PNG": 2, "PNG named TIFF": 1}
    assert found.severity == "note"


def test_every_usual_ending_of_a_format_passes() -> None:
    endings = {"JPEG": (".jpg", ".JPEG"), "TIFF": (".tif", ".tiff"), "BMP": (".bmp",), "DICOM": (".dcm",)}
    rows = [Row(suffix=s, header=Header(f, "L", 8)) for f, suffixes in endings.items() for s in suffixes]
    assert passes(CHECK, study(rows))


def test_names_without_a_known_ending_promise_nothing() -> None:
    assert passes(
        CHECK, study([Row(suffix=""), Row(suffix=".001", header=Header("DICOM", "MONOCHROME2", 12))])
    )
