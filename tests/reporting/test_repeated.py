import pytest

from tests.reporting.test_repeats import study
from tumorboard.reporting.repeated import among_the_others, figures, spread


def test_one_value_has_no_deviation() -> None:
    assert (spread([0.5]).sd, spread([0.5]).n) == (None, 1)
    assert spread([1.0, 2.0, 3.0]).sd == pytest.approx(1.0)


def test_the_left_out_class_is_in_none_of_the_predictions() -> None:
    others = among_the_others(study(("normal",)))
    assert set(others.held_out["custom"].labels) == {0, 2}
    assert {len(one) for splits in others.runs["seed-1"].values() for one in splits.values()} == {7}
    assert figures(others)["custom", "test", "accuracy"] == pytest.approx([4 / 7, 6 / 7])
