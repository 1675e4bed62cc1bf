"""Figures of a set of predictions as functions of how often each sample counts, for `resampling`."""

import functools
from collections.abc import Mapping

import numpy as np

from tumorboard.evaluation import counts, metrics, ranking
from tumorboard.evaluation.resampling import Floats, Statistic
from tumorboard.predictions import Predictions


def of(one: Predictions) -> Mapping[str, Statistic]:
    """By name: loss, brier, balanced_accuracy, macro_f1, mcc, auprc (macro)."""
    losses = metrics.losses(one.labels, one.probabilities)
    squares = metrics.squared_errors(one.labels, one.probabilities)
    matrices = functools.partial(_matrices, one)
    return {
        "loss": functools.partial(_mean, losses),
        "brier": functools.partial(_mean, squares),
        "balanced_accuracy": lambda weights: counts.balanced_accuracy(matrices(weights)),
        "macro_f1": lambda weights: counts.macro_f1(matrices(weights)),
        "mcc": lambda weights: counts.mcc(matrices(weights)),
        "auprc": functools.partial(_macro_auprc, one),
    }


def auprc_of(one: Predictions, c: int) -> Statistic:
    """Average precision of one class against the others."""
    return functools.partial(ranking.auprc_weighted, one.labels == c, one.probabilities[:, c])


def _mean(values: Floats, weights: Floats) -> Floats:
    return np.asarray((weights @ values) / weights.sum(axis=1))


def _matrices(one: Predictions, weights: Floats) -> Floats:
    C = len(one.class_names)
    cells = np.eye(C * C)[one.labels * C + one.predicted]
    return np.asarray((weights @ cells).reshape(-1, C, C))


def _macro_auprc(one: Predictions, weights: Floats) -> Floats:
    present = np.unique(one.labels)
    return np.asarray(np.mean([auprc_of(one, int(c))(weights) for c in present], axis=0))
