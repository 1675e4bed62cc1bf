from tests.auditing.studies import Row, only, passes, scene, study
from tumorboard.auditing.checks.border import CHECK
from tumorboard.data.pixels import Pixels


def _marked(i: int, marked: bool) -> Pixels:
    picture = scene(i).copy()
    if marked:
        picture[1:3, 60:63] = 255  # a mark in a corner, two by three of 64 pixels
    return picture


def test_a_planted_corner_mark_is_found() -> None:
    rows = [Row(label="ab"[i % 2], thumbnail=_marked(i, i % 2 == 1)) for i in range(120)]
    found = only(CHECK, study(rows))
    assert found.severity == "warning"
    assert found.numbers["accuracy, low"] > found.numbers["chance"]


def test_a_difference_in_the_middle_is_none_of_the_borders_business() -> None:
    rows = []
    for i in range(120):
        picture = scene(i).copy()
        picture[20:40, 20:40] = 255 * (i % 2)
        rows.append(Row(label="ab"[i % 2], thumbnail=picture))
    assert passes(CHECK, study(rows))
