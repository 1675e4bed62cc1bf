import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorboard.errors import DataError
from tumorboard.predictions import Predictions, aligned

from .predictions_strategies import made, predictions, predictions_and_order, shuffled

GOOD = {
    "ids": ("x", "y"),
    "labels": np.array([0, 1]),
    "class_names": ("a", "b"),
    "probabilities": np.array([[0.25, 0.75], [1.0, 0.0]]),
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": ("x", "x")}, "once, found more than once: 'x'"),
        ({"ids": ("x", "")}, "non-empty"),
        ({"ids": ("x",)}, "1 labels"),
        ({"labels": np.array([0, 2])}, "from 0 to 1, found .*2"),
        ({"labels": np.array([-1, 1])}, "found .*-1"),
        ({"labels": np.array([0.5, 1])}, "0.5"),
        ({"labels": np.array([[0, 1]])}, "shape"),
        ({"class_names": ("a", "a")}, "class names that occur once"),
        ({"class_names": ("a", "b", "c")}, r"\(2 samples, 3 classes\)"),
        ({"class_names": ("a",), "labels": np.array([0, 0]), "probabilities": np.ones((2, 1))}, "2 classes"),
        ({"probabilities": np.array([[0.25, 0.75], [np.nan, 1.0]])}, "'y'"),
        ({"probabilities": np.array([[np.inf, -np.inf], [1.0, 0.0]])}, "'x'"),
        ({"probabilities": np.array([[1.5, -0.5], [1.0, 0.0]])}, "'x'"),
        ({"probabilities": np.array([[25.0, 75.0], [1.0, 0.0]])}, "percentages"),
        ({"probabilities": np.array([[0.25, 0.7515], [1.0, 0.0]])}, "'x'"),
    ],
)
def test_refuses_what_does_not_hold_together(change, message):
    Predictions(**GOOD)
    with pytest.raises(DataError, match=message) as caught:
        Predictions(**(GOOD | change))
    assert len(str(caught.value)) <= 300
    assert "\n" not in str(caught.value)


def test_a_float32_softmax_is_taken_and_kept_as_float64():
    logits = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    one = Predictions(tuple(map(str, range(50))), np.zeros(50, int), tuple("abcd"), softmax)
    assert one.probabilities.dtype == np.float64
    assert np.array_equal(one.probabilities, softmax)


def test_what_is_recorded_cannot_be_changed_from_outside():
    source = GOOD["probabilities"].copy()
    one = Predictions(**(GOOD | {"probabilities": source}))
    source[0] = [0.9, 0.1]
    assert one.probabilities[0, 0] == 0.25
    with pytest.raises(ValueError, match="read-only"):
        one.labels[0] = 1


def test_of_equal_probabilities_the_first_class_is_predicted():
    one = Predictions(("x",), np.array([1]), ("a", "b", "c"), np.array([[0.2, 0.4, 0.4]]))
    assert one.predicted.tolist() == [1]


def test_no_samples_are_fine():
    none = Predictions((), np.array([]), ("a", "b"), np.empty((0, 2)))
    assert len(Predictions.from_csv(none.to_csv(), "f")) == len(none) == 0


ODD_TEXT = st.text(st.characters() | st.sampled_from("=+-@\t\r\n'\",;\x00"), min_size=1, max_size=6)


@given(predictions(text=ODD_TEXT))
def test_a_csv_comes_back_bit_for_bit(one):
    back = Predictions.from_csv(one.to_csv(), "file")
    assert (back.ids, back.class_names) == (one.ids, one.class_names)
    assert np.array_equal(back.labels, one.labels)
    assert back.probabilities.tobytes() == one.probabilities.tobytes()


@given(predictions(text=ODD_TEXT))
def test_no_cell_of_a_csv_is_a_formula(one):
    for row in csv.reader(io.StringIO(one.to_csv(), newline="")):
        assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_the_csv_has_the_documented_columns():
    assert Predictions(**GOOD).to_csv().splitlines() == [
        '"id","label","predicted","probability:a","probability:b"',
        '"x","a","b",0.25,0.75',
        '"y","b","a",1.0,0.0',
    ]


def test_a_csv_made_elsewhere_is_read():
    text = "\ufeffid,label,predicted,probability:a,probability:b\r\n'quoted,a,b,.25,.75\r\n"
    one = Predictions.from_csv(text, "file")
    assert (one.ids, one.labels.tolist(), one.class_names) == (("'quoted",), [0], ("a", "b"))
    text = "sep=;\r\nID;Label;Predicted ;probability:a;probability:b\r\nx;a;b;0,25;0,75\r\n"
    one = Predictions.from_csv(text, "file")
    assert (one.ids, one.probabilities.tolist(), one.class_names) == (("x",), [[0.25, 0.75]], ("a", "b"))


HEADER = "id,label,predicted,probability:a,probability:b\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the columns id"),
        ("x,y\n1,2\n", "expected the columns id.*found 'x, y'"),
        (HEADER + "x,a,a,1\n", "found 4 in line 2"),
        (HEADER.replace(",predicted", "") + "x,a,1,0\n", "expected the columns id"),
        ("path,sha256,prediction,confidence\n", "evaluate a run with --data"),
        (HEADER + "x,c,a,1,0\n", "found 'c'"),
        (HEADER + "x,a,a,1,0\ny,a,a,one,0\n", "line 3.*'one'"),
        (HEADER + "x,a,a,nan,0\n", "'x'"),
        (HEADER + "x,a,b,1,0\n", "most probable class as predicted, not so for 'x'"),
        (HEADER + "x,a,a,1,0\nx,a,a,1,0\n", "more than once"),
        (HEADER + '"x,a,a,1,0\n', "line 2: a quotation mark"),
        (HEADER + "x" * 200_000 + ",a,a,1,0\n", "field larger"),
        ("id,label,predicted,probability:a,probability:a\n", "class names"),
    ],
)
def test_a_damaged_csv_is_refused_in_one_line_that_names_the_file(text, message):
    with pytest.raises(DataError, match=message) as caught:
        Predictions.from_csv(text, "custom-test.csv")
    assert str(caught.value).startswith("custom-test.csv ")
    assert len(str(caught.value)) <= 300


@given(predictions_and_order(min_size=0))
def test_aligned_undoes_any_permutation(case):
    one, order = case
    first, back = aligned(one, shuffled(one, order))
    assert first.ids == back.ids == one.ids
    assert np.array_equal(back.labels, one.labels)
    assert np.array_equal(back.probabilities, one.probabilities)


@given(predictions_and_order(), st.integers(0))
def test_rows_of_other_samples_are_never_joined(case, which):
    one, _ = case
    ids = list(one.ids)
    ids[which % len(ids)] = "stranger"
    other = Predictions(tuple(ids), one.labels, one.class_names, one.probabilities)
    with pytest.raises(DataError, match="'stranger'"):
        aligned(one, other)


def test_aligned_refuses_a_subset_and_names_the_files():
    three, two = made([True] * 3, [0, 1, 2]), made([True] * 2, [0, 1])
    for pair in ((three, two), (two, three)):
        with pytest.raises(DataError, match=r"first\.csv and second\.csv, found only in one: 's2'"):
            aligned(*pair, names=("first.csv", "second.csv"))


def test_aligned_refuses_other_classes_and_another_order_of_them():
    one = made([True] * 3, [0, 1, 2])
    for class_names in (("a", "b", "d"), ("b", "a", "c")):
        with pytest.raises(
            DataError, match="same classes in the same order in predictions 1 and predictions 3"
        ):
            aligned(one, one, made([True] * 3, [0, 1, 2], class_names))


def test_aligned_refuses_other_labels():
    with pytest.raises(DataError, match=r"same labels .* 's1'"):
        aligned(made([True] * 3, [0, 1, 2]), made([True] * 3, [0, 2, 2]))


def test_long_lists_go_into_the_details():
    one = made([True] * 100, [0] * 100)
    other = made([True] * 100, [0] * 100, ids=tuple(f"t{i}" * 50 for i in range(100)))
    with pytest.raises(DataError, match="and 197 more") as caught:
        aligned(one, other)
    assert len(caught.value.details) == 200
    assert len(str(caught.value)) <= 300
