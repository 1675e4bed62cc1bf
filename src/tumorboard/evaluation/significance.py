"""Paired tests of whether two models differ on the same samples, for all pairs of models.

The tests of a metric, one per pair of models, are corrected by S. Holm's method, Scand. J. Stat. 6 (1979)
65-70.
"""

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy

from tumorboard.evaluation import bootstrap, metrics
from tumorboard.evaluation.bootstrap import Floats, Indices, Resamples, bca
from tumorboard.evaluation.intervals import Interval, Z, paired_difference
from tumorboard.evaluation.scores import order_by_id
from tumorboard.predictions import ClassIndices, Predictions, Probabilities, aligned

RESAMPLED = ("balanced_accuracy", "mcc", "macro_f1", "loss", "brier")
"""Metrics that are compared by permutation, with a bootstrap interval of the difference."""
_PERMUTATIONS = 1999
_SIGN_FLIPS = 9999
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Comparison:
    """The first model's value of a metric minus the second's, on the same n samples.

    Attributes:
        first: A model.
        second: Another model.
        metric: Which of `Scores`.
        n: Samples.
        difference: Of the two values; None where one is undefined.
        low: Lower limit of its 95% interval; None where there is none.
        high: Upper limit, likewise.
        test: The test's name.
        p: Two-sided, of no difference; None where there is no test.
        p_holm: Corrected for all pairs of models in this metric.
    """

    first: str
    second: str
    metric: str
    n: int
    difference: float | None
    low: float | None
    high: float | None
    test: str
    p: float | None
    p_holm: float | None


def compare(models: Mapping[str, Predictions], groups: Mapping[str, str] = {}) -> tuple[Comparison, ...]:
    """Compare all pairs of models in accuracy, AUROC and the metrics of `RESAMPLED`.

    Args:
        models: Predictions of the same samples, by model; of a single model nothing is compared.
        groups: Group by sample id, where groups are known.

    Raises:
        DataError: The models were given other samples or classes.
    """
    same = dict(zip(models, aligned(*models.values(), names=list(models)), strict=True))
    if len(same) < 2 or not len(next(iter(same.values()))):
        return ()
    pairs = [list(_compare_pair(pair, same, groups)) for pair in itertools.combinations(same, 2)]
    comparisons: list[Comparison] = []
    for of_a_metric in zip(*pairs, strict=True):
        corrected = iter(holm([c.p for c in of_a_metric if c.p is not None]))
        comparisons += [replace(c, p_holm=None if c.p is None else next(corrected)) for c in of_a_metric]
    return tuple(comparisons)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values of a family of tests after Holm's correction, in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def _compare_pair(
    names: tuple[str, str], models: Mapping[str, Predictions], groups: Mapping[str, str]
) -> Iterator[Comparison]:
    """Yield the comparison of two models in each metric, without `p_holm`."""
    (first, indices), (second, _) = (order_by_id(models[name], groups) for name in names)

    def comparison(
        metric: str, difference: float | None, interval: Interval | None, test: str, p: float | None
    ) -> Comparison:
        low, high = interval or (None, None)
        return Comparison(*names, metric, len(first), difference, low, high, test, p, None)

    resamples = Resamples(first.labels, indices)
    gains = accuracy_gains(first, second)
    only_first, only_second = int((gains > 0).sum()), int((gains < 0).sum())
    if indices is None:
        interval: Interval | None = paired_difference(only_first, only_second, len(first))
    else:
        interval = bca(functools.partial(bootstrap.weighted_mean, gains), resamples)
    difference = (only_first - only_second) / len(first)
    yield comparison("accuracy", difference, interval, *accuracy_test(first, second, groups))

    area = delong(first.labels, first.probabilities, second.probabilities, indices)
    yield comparison("auroc", area.difference, area.interval, "DeLong", area.p)

    values, others = bootstrap.weighted_metrics(first), bootstrap.weighted_metrics(second)
    permuted = _permuted_differences(first, second, indices)
    for metric in RESAMPLED:

        def statistic(weights: Floats, metric: str = metric) -> Floats:
            return np.asarray(values[metric](weights) - others[metric](weights))

        difference = float(statistic(np.ones((1, len(first))))[0])
        as_extreme = np.abs(permuted[metric]) >= abs(difference) - 1e-12
        p = (int(as_extreme.sum()) + 1) / (len(as_extreme) + 1)
        yield comparison(metric, difference, bca(statistic, resamples), "paired permutation test", p)


@dataclass(frozen=True)
class AreaDifference:
    """A difference of two AUROCs with its 95% interval and p; None where they are undefined."""

    difference: float | None
    interval: Interval | None
    p: float | None


def delong(
    labels: ClassIndices, first: Probabilities, second: Probabilities, groups: Indices | None = None
) -> AreaDifference:
    """Test by DeLong's method that two models have the same AUROC, or mean AUROC over the classes.

    Args:
        labels: (N,) classes.
        first: (N, C) of a model.
        second: (N, C) of another model.
        groups: (N,) group of each sample, or None.

    Returns:
        The difference and a two-sided p, which is 1 where both rank all samples alike.
    """
    (areas, influences), (others, other_influences) = (
        metrics.macro_auroc(labels, probabilities) for probabilities in (first, second)
    )
    if not areas:
        return AreaDifference(None, None, None)
    difference = (math.fsum(areas) - math.fsum(others)) / len(areas)
    variance = metrics.auroc_variance(influences - other_influences, groups)
    interval = None
    if variance > 0:
        half = Z * math.sqrt(variance)
        interval = Interval(max(-1.0, difference - half), min(1.0, difference + half))
    if abs(difference) < 1e-12:  # ranks are multiples of a half: anything less is rounding
        return AreaDifference(difference, interval, 1.0)
    p = float(2 * scipy.stats.norm.sf(abs(difference) / math.sqrt(variance))) if variance > 0 else 0.0
    return AreaDifference(difference, interval, p)


def _permuted_differences(
    first: Predictions, second: Predictions, groups: Indices | None
) -> dict[str, Floats]:
    """Return differences by metric after the models were exchanged in random samples, or whole groups."""
    unit_of = np.arange(len(first)) if groups is None else groups
    both = Predictions(
        (*(f"first {sample}" for sample in first.ids), *(f"second {sample}" for sample in second.ids)),
        np.concatenate([first.labels, second.labels]),
        first.class_names,
        np.concatenate([first.probabilities, second.probabilities]),
    )
    statistics, random = bootstrap.weighted_metrics(both), np.random.default_rng(0)
    size = max(1, _BLOCK // len(both))  # of draws held at a time, to bound memory
    differences: dict[str, list[Floats]] = {metric: [] for metric in RESAMPLED}
    for start in range(0, _PERMUTATIONS, size):
        draws = random.integers(0, 2, (min(size, _PERMUTATIONS - start), unit_of.max() + 1))
        kept = draws[:, unit_of].astype(np.float64)
        of_first, of_second = np.hstack([kept, 1 - kept]), np.hstack([1 - kept, kept])
        for metric, values in differences.items():
            values.append(statistics[metric](of_first) - statistics[metric](of_second))
    return {metric: np.concatenate(values) for metric, values in differences.items()}


def accuracy_test(
    first: Predictions, second: Predictions, groups: Mapping[str, str] = {}
) -> tuple[str, float]:
    """Test that two models have the same accuracy.

    Args:
        first: Of a model.
        second: Of another model, on the same samples.
        groups: By sample id. McNemar's test takes samples as independent, which slices of one patient are
            not, so where groups are known the models are exchanged in whole groups.

    Returns:
        The name of the test and its two-sided p.

    Raises:
        DataError: Not the same samples or classes.
    """
    (first, indices), (second, _) = (order_by_id(model, groups) for model in aligned(first, second))
    if indices is None:
        return "exact McNemar test", mcnemar(first, second)
    return "grouped permutation test", grouped_permutation_test(accuracy_gains(first, second), indices)


def accuracy_gains(first: Predictions, second: Predictions) -> Floats:
    """Return (N,) 1 where only the first model is correct, -1 where only the second is, else 0.

    Both have the same samples in the same order.
    """
    correct = (first.predicted == first.labels).astype(np.float64)
    return np.asarray(correct - (second.predicted == second.labels))


def mcnemar(first: Predictions, second: Predictions) -> float:
    """Return the two-sided p of McNemar's exact test that two models err equally often on the same samples.

    Q. McNemar, Psychometrika 12 (1947) 153-157, with the binomial distribution; 1 if no sample is classified
    correctly by only one of them.

    Raises:
        DataError: Not the same samples.
    """
    gains = accuracy_gains(*aligned(first, second))
    discordant = int(np.sum(gains != 0))
    return float(scipy.stats.binomtest(int(np.sum(gains > 0)), discordant).pvalue) if discordant else 1.0


def grouped_permutation_test(differences: npt.NDArray[np.float64], groups: Indices) -> float:
    """Return the two-sided p that the mean difference is 0, by exchanging the models in whole groups.

    9,999 draws of the signs of the groups' sums, from a fixed seed.

    Args:
        differences: (N,) per sample.
        groups: (N,) group of each sample.
    """
    sums = np.bincount(groups, differences)
    signs = np.random.default_rng(0).integers(0, 2, (_SIGN_FLIPS, len(sums))) * 2 - 1
    as_extreme = np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9
    return float((as_extreme.sum() + 1) / (_SIGN_FLIPS + 1))
