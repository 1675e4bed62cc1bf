"""Fit a softmax layer on frozen embeddings in closed form, by linear discriminant analysis."""

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.covariance import ledoit_wolf
from sklearn.model_selection import StratifiedGroupKFold

from tumorboard.errors import TrainingError
from tumorboard.training.fit import Examples

_FOLDS = 5
_MOST_VALUES = 1e8
"""Of all embeddings that are fitted, 0.4 GB, of which the fit makes about five copies. Views beyond that are
left out, except the first."""


def fit_discriminant(train: Examples, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit a softmax layer to embeddings, of which those of one class have a covariance common to all classes.

    Its logits are divided by the temperature of lowest log loss on folds of train, which separate no group:
    fitted to its own images, a discriminant of many dimensions is sure of each.

    Args:
        train: One input; per view an array (N, D).
        classes: C.
        seed: Deals the folds.

    Returns:
        Kernel (D, C) and bias (C,).

    Raises:
        TrainingError: A class has fewer than two images.
    """
    labels = np.asarray(train.labels)
    counts = np.bincount(labels, minlength=classes)
    if counts.min() < 2:
        raise TrainingError(
            f"expected 2 or more training images of each class for head = 'lda', found {counts.min()} of "
            f"class {counts.argmin()} (from 0); add images, or set head = 'dense' in the recipe"
        )
    views = [np.asarray(view, np.float32) for view in train.inputs[0]]
    views = views[: max(1, int(_MOST_VALUES / views[0].size))]

    def fit(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _discriminant(
            np.concatenate([view[rows] for view in views]), np.tile(labels[rows], len(views)), classes
        )

    groups = [group or f"image {row}" for row, group in enumerate(train.groups or [""] * len(labels))]
    k = min(_FOLDS, int(counts.min()), *(len({*np.array(groups)[labels == c]}) for c in range(classes)))
    logits, rows = [], []
    if k >= 2:
        deal = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
        for rest, fold in deal.split(labels, labels, groups):
            if len(np.unique(labels[rest])) == classes:
                kernel, bias = fit(rest)
                logits.append(views[0][fold] @ kernel + bias)
                rows.append(fold)
    kernel, bias = fit(np.arange(len(labels)))
    T = _temperature(np.concatenate(logits), labels[np.concatenate(rows)]) if rows else 1.0
    return kernel / T, bias / T


def _temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the T, 0.1 to 1,000, of lowest log loss.

    `calibration.fit_temperature` starts from probabilities, in which logits this large are lost.
    """

    def loss(log_t: float) -> float:
        return -float(log_softmax(logits / math.exp(log_t), axis=1)[np.arange(len(labels)), labels].mean())

    return math.exp(minimize_scalar(loss, bounds=(math.log(0.1), math.log(1000)), method="bounded").x)


def _discriminant(x: np.ndarray, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit linear discriminant analysis to (N, D) rows, its covariance shrunk (Ledoit and Wolf 2004)."""
    means = np.stack([x[labels == number].mean(axis=0) for number in range(classes)])
    residuals = x - means[labels]
    scale = residuals.std(axis=0) + 1e-6  # a ReLU may be 0 everywhere
    covariance, _ = ledoit_wolf(residuals / scale, assume_centered=True)
    kernel = np.linalg.solve(covariance, (means / scale).T)
    priors = np.bincount(labels, minlength=classes) / len(labels)
    bias = np.log(priors) - ((means / scale).T * kernel).sum(axis=0) / 2
    return kernel / scale[:, None], bias
