"""Made-up predictions for tests."""

import numpy as np
from hypothesis import strategies as st

from tumorboard.predictions import Predictions


def made(right, labels, class_names=("a", "b", "c"), confidence=0.8, ids=None):
    """Predictions that are correct where `right` is true, and of the next class elsewhere."""
    labels = np.asarray(labels)
    C = len(class_names)
    predicted = np.where(right, labels, (labels + 1) % C)
    probabilities = np.full((len(labels), C), (1 - confidence) / (C - 1))
    probabilities[np.arange(len(labels)), predicted] = confidence
    return Predictions(ids or tuple(f"s{i}" for i in range(len(labels))), labels, class_names, probabilities)


def shuffled(one, order):
    """The same predictions with their rows in another order."""
    return one.take(np.asarray(order, dtype=int))


def calibrated(random, n, C=3):
    """Predictions whose labels are drawn from their probabilities: perfectly calibrated."""
    rows = random.dirichlet(np.ones(C), n)
    labels = (random.random(n)[:, None] > np.cumsum(rows, axis=1)).sum(axis=1).clip(max=C - 1)
    return Predictions(tuple(f"s{i:05}" for i in range(n)), labels, ("a", "b", "c")[:C], rows)


@st.composite
def predictions(draw, min_size=0, max_size=30, text=None):
    """Any predictions, often with classes that no sample has."""
    N, C = draw(st.integers(min_size, max_size)), draw(st.integers(2, 5))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ids = tuple(f"s{i}" for i in range(N))
    class_names = tuple(f"class {c}" for c in range(C))
    if text is not None:
        ids = tuple(draw(st.lists(text, min_size=N, max_size=N, unique=True)))
        class_names = tuple(draw(st.lists(text, min_size=C, max_size=C, unique=True)))
    labels = random.integers(0, draw(st.integers(1, C)), N)
    return Predictions(ids, labels, class_names, random.dirichlet(np.full(C, 0.3), N).reshape(N, C))


@st.composite
def predictions_and_order(draw, min_size=1):
    """Predictions and a permutation of their rows."""
    one = draw(predictions(min_size=min_size))
    return one, draw(st.permutations(range(len(one))))
