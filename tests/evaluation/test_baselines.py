import numpy as np
import pytest

from tumorboard.errors import DataError
from tumorboard.evaluation.baselines import baselines, class_frequencies, majority_class
from tumorboard.evaluation.scores import score
from tumorboard.predictions import Predictions

from ..predictions_strategies import made

TRAIN = made([True] * 6, [2, 1, 1, 1, 0, 0])
TEST = made([False] * 4, [0, 0, 0, 1], ids=("p", "q", "r", "s"))


def test_the_majority_class_is_that_of_train_not_of_the_split_it_is_scored_on():
    guess = majority_class(TRAIN, TEST)
    assert guess.predicted.tolist() == [1, 1, 1, 1]
    assert score(guess).accuracy.value == 0.25


def test_the_first_of_equally_common_classes_is_taken():
    assert majority_class(made([True] * 4, [1, 2, 2, 1]), TEST).predicted.tolist() == [1] * 4


def test_class_frequencies_are_those_of_train():
    assert np.allclose(class_frequencies(TRAIN, TEST).probabilities, [2 / 6, 3 / 6, 1 / 6])


def test_no_constant_probabilities_have_a_lower_loss_on_train_than_the_frequencies():
    best = score(class_frequencies(TRAIN, TRAIN)).loss.value
    for row in np.random.default_rng(0).dirichlet(np.ones(3), 50):
        other = Predictions(TRAIN.ids, TRAIN.labels, TRAIN.class_names, np.tile(row, (6, 1)))
        assert score(other).loss.value >= best


def test_baselines_come_with_the_ids_and_labels_of_each_split():
    found = baselines({"train": TRAIN, "test": TEST})
    assert list(found) == ["majority class", "class frequencies"]
    for by_split in found.values():
        assert by_split["test"].ids == TEST.ids
        assert np.array_equal(by_split["test"].labels, TEST.labels)
        assert by_split["train"].ids == TRAIN.ids


def test_without_training_samples_there_is_no_baseline():
    with pytest.raises(DataError, match="training samples"):
        majority_class(Predictions((), np.array([]), ("a", "b", "c"), np.empty((0, 3))), TEST)
