import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.predictions_strategies import made, shuffled
from tumorboard.ensembles import combination
from tumorboard.errors import DataError, UsageError
from tumorboard.evaluation.metrics import accuracy
from tumorboard.predictions import Predictions


@st.composite
def boards(draw):
    """Two or three members' predictions of the same few images."""
    N, members = draw(st.integers(1, 8)), draw(st.integers(2, 3))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ids, labels = tuple(f"s{i}" for i in range(N)), random.integers(0, 3, N)
    return [
        Predictions(ids, labels, ("a", "b", "c"), random.dirichlet(np.ones(3), N)) for _ in range(members)
    ]


def joint(chosen, members):
    return np.tensordot(chosen, np.stack([one.probabilities for one in members]), axes=1)


@settings(max_examples=25)
@given(boards())
def test_never_below_the_best_member_on_validation(members):
    chosen = combination.choose_weights(members)
    found = accuracy(members[0].labels, joint(chosen, members).argmax(axis=1))
    assert found >= max(accuracy(one.labels, one.predicted) for one in members)


@settings(max_examples=25)
@given(boards())
def test_weights_are_shares(members):
    chosen = combination.choose_weights(members)
    assert len(chosen) == len(members)
    assert min(chosen) >= 0
    assert math.isclose(sum(chosen), 1, abs_tol=1e-12)


@settings(max_examples=25)
@given(boards(), st.randoms(use_true_random=False))
def test_row_order_changes_nothing_for_rows_join_on_ids(members, random):
    moved = [shuffled(one, random.sample(range(len(one)), len(one))) for one in members]
    assert combination.choose_weights(moved) == combination.choose_weights(members)


def test_a_member_that_is_always_wrong_gets_no_say():
    labels = [0, 1, 2, 0, 1, 2]
    good, bad = made([True] * 6, labels), made([False] * 6, labels)
    assert combination.choose_weights([good, bad]) == (1.0, 0.0)
    assert combination.choose_weights([bad, good]) == (0.0, 1.0)


def test_members_that_err_apart_share():
    """Each is sure where it is right and unsure where it is wrong: only together they are right."""
    labels = np.array([0, 1] * 4)
    sure, unsure = made([True] * 8, labels, confidence=0.9), made([False] * 8, labels, confidence=0.4)
    mixed = [
        np.where((np.arange(8) < 4)[:, None] == flag, sure.probabilities, unsure.probabilities)
        for flag in (1, 0)
    ]
    members = [Predictions(sure.ids, labels, sure.class_names, rows) for rows in mixed]
    assert accuracy(labels, members[0].predicted) == accuracy(labels, members[1].predicted) == 0.5
    chosen = combination.choose_weights(members)
    assert 0 < chosen[0] < 1
    assert accuracy(labels, joint(chosen, members).argmax(axis=1)) == 1


def test_many_members_are_possible(monkeypatch):
    monkeypatch.setattr(combination, "_LIMIT", 1_000)
    members = [made([i == n % 9 for n in range(9)], [0, 1, 2] * 3) for i in range(9)]
    chosen = combination.choose_weights(members)
    assert len(chosen) == 9
    assert math.isclose(sum(chosen), 1, abs_tol=1e-12)


def test_other_samples_are_refused():
    with pytest.raises(DataError, match="the same samples"):
        combination.choose_weights([made([True], [0], ids=("x",)), made([True], [0], ids=("y",))])


def test_no_samples_are_refused():
    with pytest.raises(UsageError, match="found none"):
        combination.choose_weights([made([], np.zeros(0, int)), made([], np.zeros(0, int))])
