import io

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from tumorboard.errors import DataError
from tumorboard.reporting.figures import confusion_matrices, learning_curves

from ..predictions_strategies import made, shuffled


def history(epochs):
    return [
        {"epoch": e, "loss": 1 / e, "val_loss": 2 / e, "accuracy": 1 - 1 / e, "val_accuracy": 1 - 2 / (e + 2)}
        for e in range(1, epochs + 1)
    ]


def pixels(png):
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def has_colour(png, colour):
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return bool((np.abs(pixels(png) - wanted).max(axis=2) < 12).any())


def test_curves_show_train_and_validation():
    png = learning_curves({"custom": history(5)}, {"custom": 3})
    assert has_colour(png, "#0072B2")
    assert has_colour(png, "#D55E00")


def test_the_pictures_do_not_depend_on_a_matplotlibrc():
    def draw():
        return learning_curves({"a": history(3)}, {}), confusion_matrices(
            {"a": made([True, False], [0, 1])}, "t"
        )

    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30, "text.usetex": True}):
        changed = draw()
    assert changed == draw()


def test_curves_get_a_column_for_each_model():
    one, two = (pixels(learning_curves(dict.fromkeys(names, history(3)), {})) for names in ("a", "ab"))
    assert two.shape[1] == 2 * one.shape[1]


def test_the_kept_epoch_is_marked():
    at_2, at_4 = (learning_curves({"a": history(5)}, {"a": best}) for best in (2, 4))
    assert at_2 != at_4


def test_a_model_that_was_not_fitted_has_no_curves():
    assert not has_colour(learning_curves({"ensemble": []}, {}), "#0072B2")


def test_a_single_epoch_is_seen():
    assert has_colour(learning_curves({"a": history(1)}, {"a": 1}), "#D55E00")


def test_losses_that_are_not_finite_are_left_out():
    rows = [
        *history(3),
        {"epoch": 4, "loss": float("nan"), "val_loss": float("inf"), "accuracy": 0.3, "val_accuracy": 0.3},
    ]
    assert has_colour(learning_curves({"a": rows}, {}), "#0072B2")


def test_equal_input_gives_equal_bytes_without_date_or_version():
    pair = [learning_curves({"a": history(4)}, {"a": 2}) for _ in range(2)]
    assert pair[0] == pair[1]
    assert b"Date" not in pair[0]
    assert mpl.__version__.encode() not in pair[0]


def test_odd_names_are_drawn_as_they_are():
    names = ["$\\frac{", "a|b", "<script>", "_^"]
    learning_curves({name: history(2) for name in names}, {})
    confusion_matrices({name: made([True, False], [0, 1], names) for name in names}, title="$\\frac{")


def test_matrices_do_not_depend_on_the_order_of_rows():
    one = made([True, False, True, True], [0, 1, 2, 0])
    assert confusion_matrices({"a": one}, "test") == confusion_matrices(
        {"a": shuffled(one, [3, 1, 0, 2])}, "test"
    )


def test_matrices_differ_when_a_prediction_does():
    labels = [0, 1, 2, 0]
    pair = [
        confusion_matrices({"a": made(right, labels)}, "test") for right in ([True] * 4, [True] * 3 + [False])
    ]
    assert pair[0] != pair[1]


def test_a_class_without_samples_leaves_its_row_empty():
    assert pixels(confusion_matrices({"a": made([True], [0])}, "valid")).size


def test_matrices_of_other_samples_are_not_put_side_by_side():
    with pytest.raises(DataError, match="same samples in a and b"):
        confusion_matrices({"a": made([True], [0]), "b": made([True], [0], ids=("t",))}, "test")
