"""A softmax layer fitted on vectors, as a multinomial logistic regression."""

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

Array = npt.NDArray[np.float64]

_NEVER = -30.0  # the logit of a class that no label has


def fit(
    features: npt.NDArray[np.floating],
    labels: npt.NDArray[np.int64],
    classes: int,
    *,
    C: float = 1.0,
    shares: Array | None = None,
) -> tuple[Array, Array]:
    """Kernel (D, C) and bias (C,) of a softmax layer.

    Args:
        features: (N, D).
        labels: (N,), 0 to classes - 1; two different ones at least.
        classes: The layer's width.
        C: How little the kernel is held to zero, as scikit-learn has it.
        shares: (N,) weights of the rows; by default equal.
    """
    model = LogisticRegression(C=C, max_iter=2000).fit(features, labels, shares)
    kernel, bias = np.zeros((features.shape[1], classes)), np.full(classes, _NEVER)
    if len(model.classes_) == 2:  # scikit-learn gives the second class's logit alone
        kernel[:, model.classes_[1]], bias[model.classes_] = model.coef_[0], (0.0, model.intercept_[0])
    else:
        kernel[:, model.classes_], bias[model.classes_] = model.coef_.T, model.intercept_
    return kernel, bias
