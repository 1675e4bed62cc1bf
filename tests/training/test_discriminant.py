import numpy as np
import pytest
from scipy.special import softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from tumorboard.errors import TrainingError
from tumorboard.training.discriminant import fit_discriminant
from tumorboard.training.fit import Examples


def gaussian_classes(
    per_class: int, dimensions: int, distance: float, classes: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Draw (N, D) rows around random class means with a covariance that all classes share."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), per_class)
    mixing = rng.normal(size=(dimensions, dimensions)) / np.sqrt(dimensions)
    rows = rng.normal(size=(len(labels), dimensions)) @ mixing
    return rows + distance * rng.normal(size=(classes, dimensions))[labels], labels


@pytest.mark.parametrize("classes", [2, 3])
def test_many_rows_of_few_dimensions_give_the_discriminant_of_scikit_learn(classes: int) -> None:
    rows, labels = gaussian_classes(2000, 5, 0.4, classes)
    kernel, bias = fit_discriminant(Examples([[rows]], labels), classes, seed=0)
    assert kernel.shape == (5, classes)
    assert bias.shape == (classes,)
    reference = LinearDiscriminantAnalysis().fit(rows, labels).predict_proba(rows)
    assert softmax(rows @ kernel + bias, axis=1) == pytest.approx(reference, abs=0.02)


def test_logits_of_more_dimensions_than_rows_are_divided_by_a_temperature() -> None:
    rows, labels = gaussian_classes(60, 400, 0.2)
    train = np.arange(len(rows)) % 2 == 0
    kernel, bias = fit_discriminant(Examples([[rows[train]]], labels[train]), 3, seed=0)
    probabilities = softmax(rows[~train] @ kernel + bias, axis=1)
    accuracy = (probabilities.argmax(axis=1) == labels[~train]).mean()
    assert 0.5 < accuracy < 0.99
    assert probabilities.max(axis=1).mean() == pytest.approx(accuracy, abs=0.1)


def test_folds_of_the_temperature_separate_no_group() -> None:
    rows, labels = gaussian_classes(20, 200, 0.1)
    repeated, of_each = np.repeat(rows, 4, axis=0), np.repeat(labels, 4)
    groups = [f"patient {number}" for number in np.repeat(np.arange(len(rows)), 4)]
    by_image, _ = fit_discriminant(Examples([[repeated]], of_each), 3, seed=0)
    by_patient, _ = fit_discriminant(Examples([[repeated]], of_each, groups), 3, seed=0)
    assert np.abs(by_image).max() > 3 * np.abs(by_patient).max()  # sure of images whose copies it has seen


def test_all_views_are_fitted() -> None:
    rows, labels = gaussian_classes(30, 10, 0.5)
    alone, _ = fit_discriminant(Examples([[rows]], labels), 3, seed=0)
    shifted, _ = fit_discriminant(Examples([[rows, rows + 1.0]], labels), 3, seed=0)
    assert not np.allclose(alone, shifted, rtol=0.01)


def test_single_patients_of_a_class_leave_the_temperature_at_1() -> None:
    rows, labels = gaussian_classes(30, 10, 0.5)
    groups = [f"patient {label}" for label in labels]
    kernel, bias = fit_discriminant(Examples([[rows]], labels, groups), 3, seed=0)
    assert np.isfinite(kernel).all()
    assert np.isfinite(bias).all()


def test_one_image_of_a_class_is_refused() -> None:
    rows, labels = gaussian_classes(5, 3, 1.0)
    with pytest.raises(TrainingError, match="expected 2 or more training images of each class"):
        fit_discriminant(Examples([[rows[:11]]], labels[:11]), 3, seed=0)
