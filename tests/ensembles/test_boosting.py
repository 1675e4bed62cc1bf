import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tests.small_models import CLASSES, NOTEBOOK, joined, member, pixels
from tumorboard.ensembles import boosting
from tumorboard.ensembles.combination import CombinationRule
from tumorboard.ensembles.ensemble import build_ensemble
from tumorboard.errors import TrainingError
from tumorboard.models.inference import probabilities

DRAWS = np.random.default_rng(5)
LABELS = DRAWS.integers(0, 3, 90)
FEATURES = (DRAWS.normal(size=(90, 6)) + 1.2 * np.eye(6)[LABELS] * 2 + 7).astype(np.float32)


def votes(rule, features):
    """(N, T): which class each head answers."""
    logits = features @ np.array(rule.kernel) + np.array(rule.bias)
    return logits.reshape(len(features), -1, len(rule.bias) // len(rule.weights)).argmax(axis=2)


def reference(count):
    """SAMME as in the paper's Algorithm 2, on the same weak heads."""
    scaled = (FEATURES - FEATURES.mean(0)) / (FEATURES.std(0) + 1e-6)
    shares, said, says = np.ones(90), [], []
    for _ in range(count):
        head = LogisticRegression(C=boosting._WEAK, max_iter=2000).fit(scaled, LABELS, shares)
        said.append(head.predict(scaled))
        error = shares[said[-1] != LABELS].sum() / shares.sum()
        says.append(np.log((1 - error) / error) + np.log(3 - 1))
        shares = shares * np.exp(says[-1] * (said[-1] != LABELS))
        shares *= 90 / shares.sum()
    return np.array(said).T, says


def test_heads_and_their_say_are_sammes():
    rule = boosting.fit(FEATURES, LABELS, 3)
    assert len(rule.weights) > 2
    said, says = reference(len(rule.weights))
    np.testing.assert_allclose(rule.weights, says, rtol=1e-4)
    np.testing.assert_array_equal(votes(rule, FEATURES), said)


def test_a_later_head_answers_otherwise_than_the_first():
    found = votes(boosting.fit(FEATURES, LABELS, 3), FEATURES)
    assert (found[:, 0] != found[:, 1]).any()


def test_a_head_without_error_is_the_last():
    rule = boosting.fit(np.eye(3, dtype=np.float32)[LABELS] * 9, LABELS, 3)
    assert len(rule.weights) == 1
    assert np.isfinite(rule.weights).all()
    np.testing.assert_array_equal(votes(rule, np.eye(3)[LABELS] * 9)[:, 0], LABELS)


@pytest.mark.parametrize("labels", [np.arange(90) % 3, np.zeros(90, np.int64)], ids=["chance", "one class"])
def test_nothing_to_boost_is_one_line(labels):
    with pytest.raises(TrainingError, match="better than chance on 90 validation images of 3 classes"):
        boosting.fit(np.ones((90, 2), np.float32), labels, 3)


@pytest.mark.tensorflow
def test_the_saved_model_is_the_softmax_of_the_heads_weighted_votes():
    inner = joined("inner", [member("third"), member("fourth", NOTEBOOK)], "mean")
    members = [member("pretrained"), member("custom", NOTEBOOK), inner]
    features = boosting.embed(members, pixels(12))
    assert features.shape == (12, 8 + 128 + 8 + 128)
    kernel = np.random.default_rng(1).normal(size=(features.shape[1], 6))
    rule = CombinationRule("boosted", (1.5, 0.7), tuple(map(tuple, kernel.tolist())), (0.1, 0.0, -0.1) * 2)
    said = votes(rule, features)
    assert len({tuple(row) for row in said}) > 1
    logits = 1.5 * np.eye(3)[said[:, 0]] + 0.7 * np.eye(3)[said[:, 1]]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    model = build_ensemble("ensemble", members, rule)
    np.testing.assert_allclose(probabilities(model, pixels(12)), expected, rtol=0, atol=1e-5)
    assert not model.trainable_weights
    assert len(CLASSES) == 3
