import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tumorboard.ensembles import combination

DRAWS = np.random.default_rng(2)
FEATURES = DRAWS.normal(size=(60, 4))
SHARES = DRAWS.uniform(0.1, 3.0, 60)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("present", [(0, 1, 2), (0, 2), (1, 2)])
def test_a_head_is_the_logistic_regression_whatever_classes_occur(present):
    labels = np.array(present)[DRAWS.integers(0, len(present), 60)]
    kernel, bias = combination.fit_head(FEATURES, labels, 3, C=0.3, shares=SHARES)
    expected = LogisticRegression(C=0.3, max_iter=2000).fit(FEATURES, labels, SHARES).predict_proba(FEATURES)
    found = softmax(FEATURES @ kernel + bias)
    np.testing.assert_allclose(found[:, list(present)], expected, rtol=0, atol=1e-9)
    assert found[:, [c for c in range(3) if c not in present]].sum() < 1e-6
