"""Measure how much of the accuracy on a random split is the recognition of patients.

A linear classifier on the features of the frozen embedded backbone is cross-validated twice: images are dealt
to folds at random, then groups (patients) are. What it loses by the second is what a random split measures of
patients instead of diseases. No network is trained, so that it takes seconds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from tumorboard.data.near_duplicates import Indices
from tumorboard.evaluation.intervals import Estimate, share

_MAX_IMAGES = 2000  # outside test, and half as many in it
_FOLDS, _REPEATS = 5, 3
_PENALTY = 128.0  # of the squared weights, for 1,280 standardised features
_NEIGHBOUR = 0.75  # cosine of centred features: images of different patients are rarely closer
_FEW_IMAGES = 30
_SHOWN = 0.02  # accuracy: a smaller loss is no leak worth a warning

Features = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LeakMeter:
    """Cross-validated accuracies of a linear classifier on frozen features.

    Args:
        at_random: Images dealt at random.
        together: Groups kept together.
        inflation: The difference, with an interval over groups.
        groups: Number of groups, an image without any counted as one.
        is_estimate: Whether the data has no groups, and near-identical neighbours took their place.
        test_known: Accuracy on test images whose group is also in train or validation; None without any.
        test_new: Accuracy on the others; None without any.
    """

    at_random: Estimate
    together: Estimate
    inflation: Estimate
    groups: int
    is_estimate: bool
    test_known: Estimate | None = None
    test_new: Estimate | None = None

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "LeakMeter":
        """Restore what `dataclasses.asdict` made."""
        read: dict[str, Any] = dict(content)
        for name, value in content.items():
            read[name] = Estimate(**value) if isinstance(value, dict) else value
        return cls(**read)

    @property
    def sentence(self) -> str:
        """The measurement in words."""
        kind = "near-identical neighbours" if self.is_estimate else "patients"
        low, high = (100 * (limit or 0.0) for limit in (self.inflation.low, self.inflation.high))
        points = 100 * (self.inflation.value or 0.0)
        text = (
            f"A linear classifier on frozen features has accuracy {self.at_random.value:.2f} if images are "
            f"dealt at random, and {self.together.value:.2f} if {kind} are kept together "
            f"({self.groups} groups, n = {self.inflation.n}): "
        )
        if self.is_leak:
            text += f"{points:.0f} points (95% CI {low:.0f} to {high:.0f}) are recognition of {kind}"
        else:
            text += f"no leak is measured ({points:.1f} points, 95% CI {low:.1f} to {high:.1f})"
        return text + (", an estimate, because the data names no patients" if self.is_estimate else "")

    @property
    def is_leak(self) -> bool:
        """Whether the inflation is above 0 by more than chance, and worth a warning."""
        value, low = self.inflation.value, self.inflation.low
        return value is not None and low is not None and low > 0 and value >= _SHOWN


def measure(
    labels: Indices,
    groups: Sequence[str],
    is_test: npt.NDArray[np.bool_],
    embed: Callable[[Indices], Features],
) -> LeakMeter | str:
    """Cross-validate on the images outside test; test images are only predicted, and choose nothing.

    Args:
        labels: int64 (N,).
        groups: N names; "" for an image of no known group.
        is_test: bool (N,).
        embed: Computes the features, float32 (n, F), of the images at these n positions.

    Returns:
        The measurement, or the reason why it cannot be made.
    """
    names = [name or f" {row}" for row, name in enumerate(groups)]
    group = np.unique(names, return_inverse=True)[1].astype(np.int64)
    development = _sample(np.flatnonzero(~is_test), group, _MAX_IMAGES)
    test = _sample(np.flatnonzero(is_test), group, _MAX_IMAGES // 2)
    classes = np.unique(labels[development])
    in_groups = [len(np.unique(group[development][labels[development] == number])) for number in classes]
    if len(classes) < 2 or len(development) < _FEW_IMAGES or min(in_groups) < _FOLDS:
        return f"it needs {_FEW_IMAGES} images outside test, of two classes or more, in {_FOLDS} groups each"
    rows = np.concatenate([development, test])
    features = embed(rows)
    is_estimate = len(set(names)) == len(names)
    unit = neighbourhoods(features) if is_estimate else group[rows]
    inside = np.arange(len(rows)) < len(development)
    label = np.searchsorted(classes, labels[development]).astype(np.int64)
    units = np.unique(unit[inside], return_inverse=True)[1].astype(np.int64)
    by_image, by_group = (
        np.mean([_cross_validated(features[inside], label, dealt, seed) for seed in range(_REPEATS)], axis=0)
        for dealt in (np.arange(len(label)), units)
    )
    hits = np.zeros(len(test), np.bool_)
    if len(test):
        fitted = _classifier().fit(features[inside], label)
        hits = classes[fitted.predict(features[~inside])] == labels[test]
    known = np.isin(unit[~inside], unit[inside])
    test_known, test_new = (
        share(hits[part], unit[~inside][part]) if part.any() else None for part in (known, ~known)
    )
    return LeakMeter(
        _mean(by_image, units),
        _mean(by_group, units),
        _mean(by_image - by_group, units),
        int(units.max()) + 1,
        is_estimate,
        test_known,
        test_new,
    )


def _sample(rows: Indices, groups: Indices, most: int) -> Indices:
    """At most so many of the rows, whole groups in random order."""
    turn = np.random.default_rng(0).permutation(int(groups.max(initial=-1)) + 1)
    return np.sort(rows[np.argsort(turn[groups[rows]], kind="stable")][:most])


def neighbourhoods(features: Features) -> Indices:
    """Number the sets of images that are near-identical neighbours over any number of steps; (N,)."""
    centred = features - features.mean(axis=0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
    first, second = np.nonzero(np.triu(centred @ centred.T >= _NEIGHBOUR, 1))
    edges = scipy.sparse.coo_array(
        (np.ones(len(first), np.int8), (first, second)), (len(features), len(features))
    )
    return np.asarray(scipy.sparse.csgraph.connected_components(edges, directed=False)[1], np.int64)


def _classifier() -> Any:
    from sklearn.linear_model import RidgeClassifier  # a second to import
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RidgeClassifier(_PENALTY, solver="cholesky"))


def _cross_validated(
    features: Features, labels: Indices, units: Indices, seed: int
) -> npt.NDArray[np.float64]:
    """(N,): whether each image is classified correctly by a classifier fitted on the other folds."""
    folds = _deal(labels, units, np.random.default_rng(seed))
    hits = np.empty(len(labels))
    for fold in range(_FOLDS):
        rest = folds == fold
        hits[rest] = _classifier().fit(features[~rest], labels[~rest]).predict(features[rest]) == labels[rest]
    return hits


def _deal(labels: Indices, units: Indices, random: np.random.Generator) -> Indices:
    """Deal whole units to folds, the largest first, each to the fold that has least of its classes."""
    counts = np.zeros((int(units.max()) + 1, int(labels.max()) + 1))
    np.add.at(counts, (units, labels), 1)
    order = random.permutation(len(counts))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    have, fold_of = np.zeros((_FOLDS, counts.shape[1])), np.empty(len(counts), np.int64)
    weights = 1 / counts.sum(axis=0) ** 2
    for unit in order:
        load = (have * counts[unit] * weights).sum(axis=1)
        fold = np.lexsort((random.random(_FOLDS), have.sum(axis=1), load))[0]
        have[fold] += counts[unit]
        fold_of[unit] = fold
    return fold_of[units]


def _mean(values: npt.NDArray[np.float64], groups: Indices) -> Estimate:
    """The mean, with the interval of a ratio of sums over groups (cluster-robust, Student's t)."""
    n, count, mean = len(values), int(groups.max()) + 1, float(values.mean())
    sums = np.bincount(groups, values - mean)
    error = float(np.sqrt(count / (count - 1) * (sums @ sums))) / n
    half = float(scipy.stats.t.ppf(0.975, count - 1)) * error
    return Estimate(mean, n, mean - half, mean + half)
