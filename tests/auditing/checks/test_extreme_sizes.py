from tests.auditing.studies import Row, only, passes, study
from tumorboard.auditing.checks.extreme_sizes import CHECK


def test_a_short_side_is_tiny() -> None:
    found = only(CHECK, study([*[Row()] * 3, Row(height=63, width=300)]))
    assert (found.severity, found.files) == ("warning", (("0003",),))


def test_fifty_times_fewer_pixels_than_the_median_are_tiny() -> None:
    assert only(CHECK, study([*[Row(height=600, width=600)] * 3, Row(height=70, width=70)])).files == (
        ("0003",),
    )


def test_more_than_25_million_pixels_are_huge() -> None:
    found = only(CHECK, study([Row(height=5000, width=5000)] * 3 + [Row(height=5001, width=5000)]))
    assert (found.severity, found.files) == ("note", (("0003",),))


def test_fifty_times_the_medians_pixels_are_huge() -> None:
    assert only(CHECK, study([*[Row()] * 3, Row(height=710, width=710)])).files == (("0003",),)


def test_ordinary_sizes_pass() -> None:
    assert passes(
        CHECK, study([Row(height=64, width=64), Row(height=400, width=300), Row(height=300, width=400)])
    )
