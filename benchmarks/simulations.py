"""Simulated data sets with known truth: one function per table; a cell has a name, a draw and a goal.

A draw simulates one data set and returns for each metric whether the interval contained the truth,
or whether the test was significant. The share over many draws should lie within the goal; None
means no goal.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from tumorboard.evaluation import bootstrap, calibration, conformal, metrics, scores
from tumorboard.evaluation import patients as patients_of_images
from tumorboard.evaluation.intervals import Estimate, auroc_interval, wilson
from tumorboard.evaluation.significance import compare, holm
from tumorboard.evaluation.subgroups import accuracy_versus_rest
from tumorboard.predictions import Predictions

Random = np.random.Generator
LARGE = 400_000
"""Samples that stand for the whole population."""
RESAMPLED = ("loss", "brier", "mcc", "macro_f1", "auprc")


class Cell(NamedTuple):
    """What is simulated, how one data set is drawn, and where the share of each metric should lie."""

    name: str
    draw: Callable[[Random], Mapping[str, float]]
    goal: tuple[float, float] | None = None


def drawn(
    random: Random, counts: tuple[int, ...], skill: float = 1.5, patients: float = 0.0, slices: int = 1
) -> Predictions:
    """Draw samples of each class, with normal logits, the true class's raised by `skill`.

    With patients, `slices` of a class come from one, and `patients` is their shared part of the
    variance.
    """
    C, labels = len(counts), np.repeat(range(len(counts)), counts)
    groups = np.arange(len(labels)) // slices
    shared = random.normal(size=(groups.max() + 1, C))[groups]
    logits = np.sqrt(1 - patients) * random.normal(size=(len(labels), C)) + np.sqrt(patients) * shared
    logits[np.arange(len(labels)), labels] += skill
    return named(labels, softmax(1.5 * logits), slices)


def named(labels: np.ndarray, rows: np.ndarray, slices: int = 1) -> Predictions:
    ids = tuple(f"p{i // slices:05}-{i:06}" for i in range(len(labels)))
    return Predictions(ids, labels, tuple(f"c{c}" for c in range(rows.shape[1])), rows)


def by_patient(one: Predictions) -> dict[str, str]:
    return {name: name.split("-")[0] for name in one.ids}


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def truth(counts: tuple[int, ...], skill: float = 1.5) -> dict[str, float]:
    """Return the metrics of a population with these shares of classes, whatever the patients."""
    large = tuple(LARGE * k // sum(counts) for k in counts)
    return population(drawn(np.random.default_rng(99), large, skill))


def population(one: Predictions) -> dict[str, float]:
    """Return the metrics of samples that stand for the whole population."""
    found = {
        name: float(statistic(np.ones((1, len(one))))[0])
        for name, statistic in bootstrap.weighted_metrics(one).items()
    }
    found["auroc"] = float(np.mean(metrics.macro_auroc(one.labels, one.probabilities)[0]))
    return found | {"accuracy": float(np.mean(one.labels == one.predicted))}


def estimates(one: Predictions, groups: Mapping[str, str] = {}) -> dict[str, Estimate]:
    """Return the estimates of `evaluate` over all classes; single classes would take as long again."""
    ordered, indices = scores.order_by_id(one, groups)
    estimator = scores.IntervalEstimator(ordered, indices)
    matrix = metrics.confusion_matrix(ordered.labels, ordered.predicted, len(ordered.class_names))
    return {
        "accuracy": estimator.proportion(ordered.labels == ordered.predicted, np.ones(len(one), bool)),
        "balanced_accuracy": estimator.balanced_accuracy(matrix),
        "auroc": estimator.macro_auroc(),
        **{name: estimator.resampled(name) for name in RESAMPLED},
    }


def holds(estimate: Estimate, value: float) -> bool:
    return estimate.low is not None and estimate.high is not None and estimate.low <= value <= estimate.high


def proportions() -> Iterator[Cell]:
    """Wilson's interval of a proportion."""

    def draw(random: Random, n: int, p: float) -> Mapping[str, float]:
        low, high = wilson(int(random.binomial(n, p)), n)
        return {"held": low <= p <= high}

    for n in (30, 100, 315):
        for p in (0.5, 0.8, 0.95, 0.99):
            yield Cell(f"n = {n}, p = {p}", lambda random, n=n, p=p: draw(random, n, p), (0.92, 0.98))


def areas() -> Iterator[Cell]:
    """The interval of an area under the ROC curve, m positives and m negatives."""

    def draw(random: Random, m: int, true: float, shift: float) -> Mapping[str, float]:
        scores = random.normal(size=2 * m)
        positive = np.arange(2 * m) < m
        scores[positive] += shift
        spread = metrics.auroc_variance(metrics.auroc_influence(positive, scores))
        low, high = auroc_interval(metrics.auroc(positive, scores), spread, m, m)
        return {"held": low <= true <= high}

    for m in (10, 20, 50, 100):
        for true, shift in ((0.7, 0.7416), (0.9, 1.8124), (0.97, 2.6599)):
            goal = (0.92, 0.97) if m >= 50 else None
            yield Cell(f"m = {m}, area {true}", lambda random, c=(m, true, shift): draw(random, *c), goal)


def patients() -> Iterator[Cell]:
    """Three classes of patients with eight slices each, half of the variance between patients."""
    true = truth((1, 1, 1))

    def draw(random: Random, counts: tuple[int, ...]) -> Mapping[str, float]:
        one = drawn(random, counts, patients=0.5, slices=8)
        return {name: holds(found, true[name]) for name, found in estimates(one, by_patient(one)).items()}

    for G in (20, 50, 100):
        counts = tuple(8 * (G // 3 + (c < G % 3)) for c in range(3))
        goal = (0.90, 1.0) if G >= scores.FEW_GROUPS else None
        yield Cell(f"{G} patients", lambda random, counts=counts: draw(random, counts), goal)


def per_patient() -> Iterator[Cell]:
    """The same patients, the predictions of whose slices are combined by their mean: one case each."""
    large = drawn(np.random.default_rng(99), (LARGE // 24 * 8,) * 3, patients=0.5, slices=8)
    true = population(named(large.labels[::8], large.probabilities.reshape(-1, 8, 3).mean(axis=1)))

    def draw(random: Random, counts: tuple[int, ...]) -> Mapping[str, float]:
        images = drawn(random, counts, patients=0.5, slices=8)
        combined = patients_of_images.per_patient(images, by_patient(images), "mean")
        return {name: holds(found, true[name]) for name, found in estimates(combined).items()}

    for G in (20, 50, 100):
        counts = tuple(8 * (G // 3 + (c < G % 3)) for c in range(3))
        goal = (0.90, 1.0) if G >= scores.FEW_GROUPS else None
        yield Cell(f"{G} patients", lambda random, counts=counts: draw(random, counts), goal)


def without_groups() -> Iterator[Cell]:
    """The same patients, their slices taken as independent, as happens without a group column."""
    true = truth((1, 1, 1))["accuracy"]

    def draw(random: Random, G: int) -> Mapping[str, float]:
        counts = tuple(8 * (G // 3 + (c < G % 3)) for c in range(3))
        one = drawn(random, counts, patients=0.5, slices=8)
        right = int((one.labels == one.predicted).sum())
        low, high = wilson(right, len(one))
        return {"accuracy": low <= true <= high}

    for G in (20, 50, 100):
        yield Cell(f"{G} patients", lambda random, G=G: draw(random, G))


def small_classes() -> Iterator[Cell]:
    """Four classes, the smallest of k samples, the others of 3 k."""

    def draw(random: Random, counts: tuple[int, ...], true: Mapping[str, float]) -> Mapping[str, float]:
        return {name: holds(found, true[name]) for name, found in estimates(drawn(random, counts)).items()}

    for k in (5, 10, 20, 30, 50):
        counts = (k, 3 * k, 3 * k, 3 * k)
        true = truth(counts)
        yield Cell(f"smallest class {k}", lambda random, c=counts, true=true: draw(random, c, true))


def tests() -> Iterator[Cell]:
    """Tests at 5% between two equally good models that share half of their noise: false positive rate."""

    def draw(random: Random, k: int, slices: int) -> Mapping[str, float]:
        one, other = twins(random, (k, k, k), slices)
        groups = by_patient(one) if slices > 1 else {}
        found = compare({"one": one, "other": other}, groups)
        return {c.metric: c.p is not None and c.p < 0.05 for c in found}

    for k, slices in ((25, 1), (80, 1), (160, 8)):
        name = f"3 classes of {k}" + (f", {slices} slices per patient" if slices > 1 else "")
        yield Cell(name, lambda random, c=(k, slices): draw(random, *c), (0.03, 0.07))


def twins(random: Random, counts: tuple[int, ...], slices: int) -> tuple[Predictions, Predictions]:
    labels = np.repeat(range(len(counts)), counts)
    shared, *own = (noise(random, len(labels), len(counts), slices) for _ in range(3))
    raised = 1.5 * np.eye(len(counts))[labels]
    one, other = (named(labels, softmax((shared + mine) / np.sqrt(2) + raised), slices) for mine in own)
    return one, other


def noise(random: Random, n: int, C: int, slices: int) -> np.ndarray:
    """Return normal noise; half of its variance is the patient's if there are patients."""
    alone = random.normal(size=(n, C))
    if slices == 1:
        return alone
    theirs = random.normal(size=(n // slices + 1, C))[np.arange(n) // slices]
    return np.asarray((alone + theirs) / np.sqrt(2))


def bands() -> Iterator[Cell]:
    """The null band of the expected calibration error, for models that are perfectly calibrated."""

    def draw(random: Random, n: int, slices: int = 1) -> Mapping[str, float]:
        images = calibrated(random, n, slices=slices)
        groups = scores.group_indices(images.ids, by_patient(images))
        error = calibration.calibration_error(images, groups)
        return {"held": error.null_low <= error.value <= error.null_high}

    for n in (50, 100, 315, 1000):
        yield Cell(f"n = {n}", lambda random, n=n: draw(random, n), (0.93, 0.97))
    for G in (20, 50, 100):
        yield Cell(f"{G} patients, 8 slices each", lambda random, G=G: draw(random, 8 * G, 8), (0.90, 0.98))


def calibrated(random: Random, n: int, C: int = 4, slices: int = 1) -> Predictions:
    """Draw labels with the stated probabilities, shared by the slices of a patient, as half of chance is."""
    rows = random.dirichlet(np.full(C, 0.5), n // slices).repeat(slices, axis=0)
    chance = random.random(n) if slices == 1 else norm.cdf(noise(random, n, 1, slices)[:, 0])
    labels = (chance[:, None] > np.cumsum(rows, axis=1)).sum(axis=1).clip(max=C - 1)
    return named(labels, rows, slices)


def sets() -> Iterator[Cell]:
    """Prediction sets at alpha 0.1: coverage of 500 new images, guaranteed from 0.9 to 0.9 + 1 / (n + 1)."""

    def draw(random: Random, n: int) -> Mapping[str, float]:
        q = conformal.quantile(calibrated(random, n), 0.1)
        return {"covered": conformal.set_coverage(calibrated(random, 500), q)["all"].value}

    for n in (9, 39, 72, 300):
        yield Cell(f"n = {n}", lambda random, n=n: draw(random, n), (0.895, 0.905 + 1 / (n + 1)))


def subgroup_differences() -> Iterator[Cell]:
    """Two subgroups of 300: how often one is flagged at 5%, Holm corrected."""

    def draw(random: Random, second: float) -> Mapping[str, float]:
        right = np.concatenate([random.random(300) < 0.85, random.random(300) < second])
        labels = random.integers(0, 2, 600)
        said = np.where(right, labels, 1 - labels)
        one = named(labels, np.where(np.eye(2)[said] > 0, 0.8, 0.2))
        sites = [set(one.ids[:300]), set(one.ids[300:])]
        p_values = holm([accuracy_versus_rest(one, site) or 0.0 for site in sites])
        return {"flagged": any(p < 0.05 for p in p_values)}

    for what, second, goal in (
        ("no difference", 0.85, (0.0, 0.05)),
        ("15 points of difference", 0.70, None),
    ):
        yield Cell(what, lambda random, second=second: draw(random, second), goal)


TABLES = (
    *(tests, bands, sets, proportions, areas),
    *(subgroup_differences, without_groups, patients, per_patient, small_classes),
)
