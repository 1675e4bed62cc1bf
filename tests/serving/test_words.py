import pytest

from tumorboard.serving import words


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ({"a": "x"}, "It says x."),
        ({"a": "x", "b": "x"}, "All 2 models say x."),
        ({"a": "x", "b": "y", "c": "y"}, "The models disagree: b and c for y; a for x."),
        ({"a": "x", "b": "y", "c": "y", "d": "y"}, "The models disagree: b, c and d for y; a for x."),
    ],
)
def test_agreement(says, expected):
    assert words.agreement(says) == expected


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ([], "No class fits well enough to be named."),
        (["x"], "Every class but x is ruled out at the run's level."),
        (["x", "y"], "It cannot rule out x and y."),
    ],
)
def test_possible(classes, expected):
    assert words.possible(classes) == expected
