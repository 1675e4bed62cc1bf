from tests.auditing.studies import Row, only, passes, study
from tumorboard.auditing.checks.coloured_marks import CHECK


def test_colour_on_grey_pictures_is_found_and_counted_by_class() -> None:
    rows = [Row(coloured=0.002), Row(label="b", coloured=0.01), Row(label="b")]
    found = only(CHECK, study(rows))
    assert (found.severity, found.files) == ("warning", (("0000",), ("0001",)))
    assert found.numbers == {"a": 1, "b": 1}


def test_pictures_in_colour_and_stray_pixels_pass() -> None:
    assert passes(CHECK, study([Row(coloured=0.5, median_colour=40), Row(coloured=19 / 10_000)]))
