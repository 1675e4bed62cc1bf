"""Are two models different, or is it noise? Paired tests on the same samples, for all pairs of models.

Every figure's family of tests, one a pair, is corrected by S. Holm's method, Scand. J. Stat. 6 (1979) 65-70.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from tumorboard.evaluation import bootstrap, intervals, metrics
from tumorboard.evaluation.bootstrap import Floats, Resamples, Statistic, bca
from tumorboard.evaluation.scores import Groups, case_of
from tumorboard.predictions import Predictions, aligned

Indices = npt.NDArray[np.int64]

RESAMPLED = ("balanced_accuracy", "mcc", "macro_f1", "loss", "brier")
_EXCHANGES = 1999
_BLOCK = 4_000_000
_Row = tuple[str, float | None, tuple[float | None, float | None], str, float | None]
_UNKNOWN = (None, None)


@dataclass(frozen=True)
class Comparison:
    """The first model's figure minus the second's, on the same n samples.

    Attributes:
        first: A model.
        second: Another.
        metric: Which of `Scores`.
        n: Samples.
        difference: Of the figures; None where one is undefined.
        low: Lower limit of its 95 % interval; None where there is none.
        high: Upper limit, likewise.
        test: The test's name.
        p: Two-sided, that there is no difference; None where there is no test.
        p_holm: Corrected for all pairs of models in this figure.
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
    """All pairs of models in accuracy, AUROC and the figures of `RESAMPLED`; nothing of one model.

    Raises:
        DataError: The models were given other samples or classes.
    """
    same = dict(zip(models, aligned(*models.values(), names=list(models)), strict=True))
    if len(same) < 2 or not len(next(iter(same.values()))):
        return ()
    found = [one for pair in itertools.combinations(same, 2) for one in _pair(*pair, same, groups)]
    families = {figure: [one for one in found if one.metric == figure] for figure in _figures(found)}
    return tuple(one for family in families.values() for one in _corrected(family))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of a family, corrected; in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, worst = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = worst
    return corrected


def _figures(found: Sequence[Comparison]) -> list[str]:
    return list(dict.fromkeys(one.metric for one in found))


def _corrected(family: Sequence[Comparison]) -> list[Comparison]:
    tested = [one for one in family if one.p is not None]
    corrected = iter(holm([one.p for one in tested if one.p is not None]))
    return [replace(one, p_holm=next(corrected)) if one.p is not None else one for one in family]


def _pair(first: str, second: str, models: Mapping[str, Predictions], groups: Groups) -> list[Comparison]:
    case, another = case_of(models[first], groups), case_of(models[second], groups)
    one, other, units = case.one, another.one, case.groups
    rows = [_accuracy(one, other, units), _area(one, other, units), *_resampled(one, other, units)]
    return [
        Comparison(first, second, figure, len(one), difference, low, high, test, p, None)
        for figure, difference, (low, high), test, p in rows
    ]


def _accuracy(one: Predictions, other: Predictions, units: Indices | None) -> _Row:
    gains, test = accuracy_gains(one, other), equally_accurate(one, other, units)
    lone, its = int((gains > 0).sum()), int((gains < 0).sum())
    difference = (lone - its) / len(one)
    if units is None:
        return "accuracy", difference, intervals.paired_difference(lone, its, len(one)), *test

    def statistic(weights: Floats) -> Floats:
        return np.asarray((weights @ gains) / weights.sum(axis=1))

    return "accuracy", difference, bca(statistic, Resamples(one.labels, units)) or _UNKNOWN, *test


def _area(one: Predictions, other: Predictions, units: Indices | None) -> _Row:
    (areas, influences), (others, also) = (
        metrics.macro_auroc(p.labels, p.probabilities) for p in (one, other)
    )
    if not areas:
        return "auroc", None, _UNKNOWN, "DeLong", None
    difference = (math.fsum(areas) - math.fsum(others)) / len(areas)
    spread = metrics.auroc_variance(influences - also, units)
    half = intervals.Z * math.sqrt(spread) if spread > 0 else math.nan
    limits = _UNKNOWN if math.isnan(half) else (max(-1.0, difference - half), min(1.0, difference + half))
    return "auroc", difference, limits, "DeLong", metrics.p_of(difference, spread)


def _resampled(one: Predictions, other: Predictions, units: Indices | None) -> list[_Row]:
    resamples = Resamples(one.labels, units)
    mine, its, exchanged = bootstrap.of(one), bootstrap.of(other), _exchanged(one, other, units)
    rows: list[_Row] = []
    for figure in RESAMPLED:
        statistic = _difference(mine[figure], its[figure])
        difference = float(statistic(np.ones((1, len(one))))[0])
        as_far = np.abs(exchanged[figure]) >= abs(difference) - 1e-12
        p = (int(as_far.sum()) + 1) / (len(as_far) + 1)
        rows.append((figure, difference, bca(statistic, resamples) or _UNKNOWN, "paired permutation test", p))
    return rows


def _difference(mine: Statistic, its: Statistic) -> Statistic:
    return lambda weights: np.asarray(mine(weights) - its(weights))


def _exchanged(one: Predictions, other: Predictions, units: Indices | None) -> dict[str, Floats]:
    """By figure, differences after the models' answers were exchanged in random samples, or whole groups."""
    of_unit = np.arange(len(one)) if units is None else units
    both = Predictions(
        (*(f"first {name}" for name in one.ids), *(f"second {name}" for name in other.ids)),
        np.concatenate([one.labels, other.labels]),
        one.class_names,
        np.concatenate([one.probabilities, other.probabilities]),
    )
    found, random = bootstrap.of(both), np.random.default_rng(0)
    size = max(1, _BLOCK // len(both))  # of draws held at a time, to bound memory
    differences: dict[str, list[Floats]] = {figure: [] for figure in RESAMPLED}
    for start in range(0, _EXCHANGES, size):
        draws = random.integers(0, 2, (min(size, _EXCHANGES - start), of_unit.max() + 1))
        kept = draws[:, of_unit].astype(np.float64)
        first, second = np.hstack([kept, 1 - kept]), np.hstack([1 - kept, kept])
        for figure, values in differences.items():
            values.append(found[figure](first) - found[figure](second))
    return {figure: np.concatenate(values) for figure, values in differences.items()}


_FLIPS = 9999


def accuracy_test(
    first: Predictions, second: Predictions, groups: Mapping[str, str] = {}
) -> tuple[str, float]:
    """The name of the test and its two-sided p.

    Args:
        first: Of a model.
        second: Of another, on the same samples.
        groups: By sample id; slices of one patient are no independent samples, which McNemar's test takes
            them for, so where groups are known models are exchanged in whole ones.

    Raises:
        DataError: Not the same samples or classes.
    """
    one, other = (case_of(each, groups) for each in aligned(first, second))
    return equally_accurate(one.one, other.one, one.groups)


def equally_accurate(one: Predictions, other: Predictions, units: Indices | None) -> tuple[str, float]:
    """The same of rows in the same order; units are (N,) group of each, or None."""
    if units is None:
        return "exact McNemar test", mcnemar(one, other)
    return "grouped permutation test", sign_flips(accuracy_gains(one, other), units)


def accuracy_gains(one: Predictions, other: Predictions) -> Floats:
    """(N,) 1 where the first alone is right, -1 where the second alone is, else 0."""
    right, also = one.predicted == one.labels, other.predicted == other.labels
    return np.asarray(right.astype(np.float64) - also)


def mcnemar(first: Predictions, second: Predictions) -> float:
    """Two-sided p of McNemar's exact test that two models err equally often on the same samples.

    Q. McNemar, Psychometrika 12 (1947) 153-157, with the binomial distribution. No sample that only one
    of them has right gives 1.

    Raises:
        DataError: Not the same samples.
    """
    first, second = aligned(first, second)
    right, also = first.predicted == first.labels, second.predicted == second.labels
    lone, differing = int(np.sum(right & ~also)), int(np.sum(right != also))
    return float(binomtest(lone, differing).pvalue) if differing else 1.0


def sign_flips(differences: npt.NDArray[np.float64], groups: Indices) -> float:
    """Two-sided p that a difference per sample is none, by exchanging the models in whole groups.

    9,999 draws of the signs of the groups' sums, or of all groups alike, from a fixed seed.
    """
    sums = np.bincount(groups, differences)
    signs = np.random.default_rng(0).integers(0, 2, (_FLIPS, len(sums))) * 2 - 1
    as_far = np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9
    return float((as_far.sum() + 1) / (_FLIPS + 1))
