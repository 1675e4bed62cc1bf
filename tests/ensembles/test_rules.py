import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tumorboard.ensembles import combination
from tumorboard.ensembles.combination import (
    CANDIDATES,
    CombinationRule,
    apply_rule,
    concatenate,
    cross_fit,
    fit_rule,
)
from tumorboard.errors import DataError
from tumorboard.predictions import Predictions

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
