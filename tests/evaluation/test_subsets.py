import numpy as np

from tumorboard.evaluation.subgroups import subset
from tumorboard.predictions import Predictions


def test_what_is_kept_keeps_its_order_its_labels_and_its_bits():
    ids = ("c", "a", "d", "b")
    probabilities = np.array([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3], [1 / 3, 2 / 3]])
    whole = Predictions(ids, np.array([0, 1, 1, 0]), ("x", "y"), probabilities)
    part = subset(whole, {"b", "c", "unknown"})
    assert part.ids == ("c", "b")
    assert part.labels.tolist() == [0, 0]
    assert np.array_equal(part.probabilities, probabilities[[0, 3]])
