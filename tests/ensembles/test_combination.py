import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from tests.predictions_strategies import made, shuffled
from tumorboard.ensembles import combination
from tumorboard.ensembles.combination import (
    CANDIDATES,
    CombinationRule,
    apply_rule,
    concatenate,
    cross_fit,
    fit_rule,
)
from tumorboard.errors import DataError, UsageError
from tumorboard.evaluation.metrics import accuracy
from tumorboard.predictions import Predictions

DRAWS = np.random.default_rng(2)
FEATURES = DRAWS.normal(size=(60, 4))
SHARES = DRAWS.uniform(0.1, 3.0, 60)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("present", [(0, 1, 2), (0, 2), (1, 2)])
def test_a_head_is_the_logistic_regression_whatever_classes_occur(present):
    labels = np.array(present)[DRAWS.integers(0, len(present), 60)]
    kernel, bias = combination.fit_softmax(FEATURES, labels, 3, C=0.3, sample_weights=SHARES)
    expected = LogisticRegression(C=0.3, max_iter=2000).fit(FEATURES, labels, SHARES).predict_proba(FEATURES)
    found = softmax(FEATURES @ kernel + bias)
    np.testing.assert_allclose(found[:, list(present)], expected, rtol=0, atol=1e-9)
    assert found[:, [c for c in range(3) if c not in present]].sum() < 1e-6


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
    monkeypatch.setattr(combination, "_MAX_COMBINATIONS", 1_000)
    members = [made([i == n % 9 for n in range(9)], [0, 1, 2] * 3) for i in range(9)]
    chosen = combination.choose_weights(members)
    assert len(chosen) == 9
    assert math.isclose(sum(chosen), 1, abs_tol=1e-12)


def test_weights_of_other_samples_are_refused():
    with pytest.raises(DataError, match="the same samples"):
        combination.choose_weights([made([True], [0], ids=("x",)), made([True], [0], ids=("y",))])


def test_no_samples_are_refused():
    with pytest.raises(UsageError, match="found none"):
        combination.choose_weights([made([], np.zeros(0, int)), made([], np.zeros(0, int))])


CLASSES = ("a", "b", "c")


def said(rng, labels, skill, prefix="s"):
    """Predictions that are right more often the more skill there is."""
    rows = rng.dirichlet(np.ones(3), len(labels))
    rows[np.arange(len(labels)), labels] += skill
    ids = tuple(f"{prefix}{i}" for i in range(len(labels)))
    return Predictions(ids, labels, CLASSES, rows / rows.sum(axis=1, keepdims=True))


@pytest.fixture
def board():
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 3, 120)
    return [said(rng, labels, skill) for skill in (1.0, 0.5, 0.0)]


def moved(one, order):
    return Predictions(
        tuple(one.ids[i] for i in order), one.labels[order], one.class_names, one.probabilities[order]
    )


@pytest.mark.parametrize("form", CANDIDATES)
def test_no_order_of_rows_changes_a_rule_or_an_answer(board, form):
    order = np.random.default_rng(1).permutation(120)
    mixed = [board[0], moved(board[1], order), board[2]]
    rule = fit_rule(form, board)
    np.testing.assert_allclose(
        apply_rule(fit_rule(form, mixed), mixed).probabilities,
        apply_rule(rule, board).probabilities,
        rtol=0,
        atol=1e-9,
    )


def test_mean_and_vote_by_hand():
    ids, labels = ("x", "y"), np.array([0, 1])
    one = Predictions(ids, labels, CLASSES, np.array([[0.5, 0.3, 0.2], [0.2, 0.4, 0.4]]))
    two = Predictions(ids, labels, CLASSES, np.array([[0.1, 0.7, 0.2], [0.0, 1.0, 0.0]]))
    np.testing.assert_allclose(
        apply_rule(CombinationRule("mean"), [one, two]).probabilities, [[0.3, 0.5, 0.2], [0.1, 0.7, 0.2]]
    )
    np.testing.assert_allclose(
        apply_rule(CombinationRule("vote"), [one, two]).probabilities, [[0.5, 0.5, 0], [0, 0.75, 0.25]]
    )


def test_greedy_leaves_out_a_member_that_is_only_wrong():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    good, bad = said(rng, labels, 3.0), said(rng, (labels + 1) % 3, 3.0)
    bad = Predictions(bad.ids, labels, CLASSES, bad.probabilities)
    assert fit_rule("greedy", [good, bad]).weights == (1.0, 0.0)


def test_greedy_is_caruanas_selection_step_by_step(board):
    labels = board[0].labels
    stack = np.stack([one.probabilities for one in board])
    drawn: list[int] = []
    for _ in range(25):
        losses = []
        for member in range(3):
            mean = np.mean([stack[m] for m in (*drawn, member)], axis=0)
            losses.append(-np.log(mean[np.arange(120), labels]).mean())
        drawn.append(int(np.argmin(losses)))
    expected = np.bincount(drawn, minlength=3) / 25
    np.testing.assert_allclose(fit_rule("greedy", board).weights, expected)


def test_stacking_is_scikit_learns_logistic_regression(board):
    features = np.concatenate([one.probabilities for one in board], axis=1)
    expected = LogisticRegression(max_iter=2000).fit(features, board[0].labels).predict_proba(features)
    np.testing.assert_allclose(
        apply_rule(fit_rule("stacked", board), board).probabilities, expected, atol=1e-9
    )


def test_stacking_two_classes_and_one_that_never_came():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 80)  # class c is never seen
    members = [said(rng, labels, 0.7), said(rng, labels, 0.7)]
    features = np.concatenate([one.probabilities for one in members], axis=1)
    expected = LogisticRegression(max_iter=2000).fit(features, labels).predict_proba(features)
    found = apply_rule(fit_rule("stacked", members), members).probabilities
    np.testing.assert_allclose(found[:, :2], expected, atol=1e-9)
    assert found[:, 2].max() < 1e-6


@pytest.mark.parametrize("form", ["weighted", "greedy", "stacked"])
def test_a_folds_own_labels_do_not_reach_its_answer(form):
    """Other labels in one fold change what is said of the others, never what is said of it."""
    rng = np.random.default_rng(5)
    folds = []
    for number in range(3):
        labels = rng.integers(0, 3, 40)
        folds.append([said(rng, labels, skill, f"f{number}-") for skill in (0.6, 0.3)])
    before = cross_fit(form, folds)
    wrong = (folds[1][0].labels + 1) % 3
    folds[1] = [Predictions(one.ids, wrong, CLASSES, one.probabilities) for one in folds[1]]
    after = cross_fit(form, folds)
    own = np.array([name.startswith("f1-") for name in before.ids])
    np.testing.assert_array_equal(before.probabilities[own], after.probabilities[own])
    assert not np.array_equal(before.probabilities[~own], after.probabilities[~own])


def test_other_samples_are_refused(board):
    with pytest.raises(DataError):
        apply_rule(CombinationRule("mean"), [board[0], moved(board[1], np.arange(100))])


def test_concatenate_refuses_a_sample_that_comes_twice(board):
    with pytest.raises(DataError):
        concatenate([board[0], board[0]])
    assert combination.pool_folds([[moved(board[0], np.arange(60))], [moved(board[0], np.arange(60, 120))]])[
        0
    ].ids == (board[0].ids)
