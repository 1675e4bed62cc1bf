from dataclasses import replace

import keras
import numpy as np
import pytest

from tests.small_models import NOTEBOOK, joined, member, pixels
from tumorboard.config import Image
from tumorboard.ensembles.ensemble import check_compatible, copy_members
from tumorboard.errors import ModelError


@pytest.fixture(scope="module")
def custom():
    return member("custom", NOTEBOOK)


def other(custom, **changes):
    """The same network under another spec."""
    return custom[0], replace(custom[1], name="other", **changes)


def test_models_of_the_same_classes_and_input_fit(custom):
    assert check_compatible([custom, other(custom)]) == custom[1]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"class_names": ("a", "b", "z")}, "other classes, .*'c'.* against .*'z'"),
        ({"class_names": ("a", "b")}, "other classes"),
        ({"class_names": ("b", "a", "c")}, "the same classes in another order"),
        ({"image": Image(size=64)}, "other input, .*'size': 32.* against .*'size': 64"),
        ({"image": Image(size=32, resize="pad")}, "other input, .*'stretch'.* against .*'pad'"),
        ({"image": Image(size=32, interpolation="box")}, "other input"),
    ],
)
def test_a_pair_that_does_not_fit_is_told_why(custom, changes, why):
    with pytest.raises(ModelError, match=f"'custom' and 'other' do not fit together: {why}"):
        check_compatible([custom, custom, other(custom, **changes)])


def test_long_lists_of_classes_go_into_the_details(custom):
    names = tuple(f"a class with a long name, number {number}" for number in range(40))
    with pytest.raises(ModelError) as error:
        check_compatible([custom, other(custom, class_names=names)])
    assert len(str(error.value)) <= 300
    assert names[-1] in error.value.details[1]


@pytest.mark.parametrize("count", [0, 1])
def test_one_model_is_no_combination(custom, count):
    with pytest.raises(ModelError, match=f"at least two models to combine, found {count}"):
        check_compatible([custom][:count])


def prefixes(members):
    image = keras.Input((32, 32, 3), name="m_image")
    copies = copy_members(members, image, "m", trainable=False)
    names = [layer.name for copy in copies for layer in copy.layers if layer.name != "m_image"]
    assert len(set(names)) == len(names)
    return [
        next(layer.name for layer in copy.layers if layer.name.endswith("_probabilities")) for copy in copies
    ]


def test_namesakes_are_numbered(custom):
    assert prefixes([custom, custom, custom]) == [
        "m_custom_probabilities",
        "m_custom_2_probabilities",
        "m_custom_3_probabilities",
    ]


@pytest.mark.parametrize("names", [("a", "a_2", "a"), ("a", "a_3", "a"), ("a_2", "a", "a")])
def test_a_number_that_is_taken_is_passed_over(names):
    assert len(set(prefixes([member(name, NOTEBOOK) for name in names]))) == 3


def test_a_model_named_like_anothers_member_gets_a_number(custom):
    inner = joined("outer", [custom, member("second", NOTEBOOK)], "mean")
    assert len(prefixes([inner, member("outer_custom", NOTEBOOK)])) == 2


def test_a_frozen_copy_learns_nothing_and_the_original_still_can(custom):
    model = custom[0]
    image = keras.Input((32, 32, 3), name="m_image")
    frozen, free = (copy_members([custom], image, "m", trainable=t)[0] for t in (False, True))
    assert not frozen.trainable_weights
    assert len(free.trainable_weights) == len(model.trainable_weights) > 0
    for copy in (frozen, free):
        np.testing.assert_array_equal(copy.predict_on_batch(pixels(1)), model.predict_on_batch(pixels(1)))
