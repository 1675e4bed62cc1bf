"""How often our 95 % intervals hold the truth, and how often our tests see a difference that is not there.

    python benchmarks/coverage.py [RUNS] [WORD]

Every line is a cell of RUNS (2,000) simulated studies whose truth is known: a share that should be 0.95 for
intervals and bands, 0.05 for tests, in brackets the simulation's own 95 % interval. With WORD only the
tables whose name holds it. Seeds are fixed. docs/evaluation.md holds the figures and what follows from them.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from tumorboard.evaluation import calibration, conformal, ranking, statistics
from tumorboard.evaluation.comparing import compare, holm
from tumorboard.evaluation.intervals import area, wilson
from tumorboard.evaluation.score import Scores, evaluate
from tumorboard.evaluation.subgroups import against_the_rest
from tumorboard.predictions import Predictions

Draw = Callable[[np.random.Generator], Mapping[str, float]]
Cells = Iterator[tuple[str, Draw]]

LARGE = 400_000
"""Samples that stand for the whole population."""
FIGURES = ("loss", "brier", "balanced_accuracy", "mcc", "macro_f1", "auroc", "auprc")


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    for table in (proportions, areas, small_classes, patients, tests, bands, sets, gaps):
        if len(sys.argv) < 3 or sys.argv[2] in table.__name__:
            print(f"\n{(table.__doc__ or '').splitlines()[0]}", flush=True)
            for number, (cell, draw) in enumerate(table()):
                run(cell, draw, runs, number)


def run(cell: str, draw: Draw, runs: int, number: int) -> None:
    begun = time.monotonic()
    counts: dict[str, list[float]] = {}
    for i in range(runs):
        for name, happened in draw(np.random.default_rng([number, i])).items():
            counts.setdefault(name, []).append(float(happened))
    for name, all_of in counts.items():
        low, high = wilson(sum(all_of), len(all_of))
        share = f"{np.mean(all_of):.4f} ({low:.3f} to {high:.3f})"
        print(f"  {cell:34}{name:22}{share}, {len(all_of)} runs", flush=True)
    print(f"  {'':34}{time.monotonic() - begun:.0f} s", flush=True)


def drawn(
    random: np.random.Generator,
    counts: tuple[int, ...],
    skill: float = 1.5,
    patients: float = 0.0,
    slices: int = 1,
) -> Predictions:
    """Samples of each class, their logits normal with the true class's raised by `skill`.

    With patients, `slices` of a class come from one, and `patients` is the share of the variance they share.
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


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def truth(counts: tuple[int, ...], skill: float) -> dict[str, float]:
    """The figures of a population with these shares of classes, whatever the patients."""
    large = tuple(LARGE * k // sum(counts) for k in counts)
    one = drawn(np.random.default_rng(99), large, skill)
    found = {
        name: float(statistic(np.ones((1, len(one))))[0]) for name, statistic in statistics.of(one).items()
    }
    found["auroc"] = float(np.mean(ranking.macro(one.labels, one.probabilities)[0]))
    return found | {"accuracy": float(np.mean(one.labels == one.predicted))}


def holds(scores: Scores, figure: str, value: float) -> bool:
    measure = getattr(scores, figure)
    return measure.low is not None and measure.low <= value <= measure.high


def proportions() -> Cells:
    """Wilson's interval of a proportion."""
    for n in (30, 100, 315):
        for p in (0.5, 0.8, 0.95, 0.99):

            def draw(random: np.random.Generator, n: int = n, p: float = p) -> Mapping[str, bool]:
                low, high = wilson(int(random.binomial(n, p)), n)
                return {"accuracy": low <= p <= high}

            yield f"n = {n}, p = {p}", draw


def areas() -> Cells:
    """The interval of an area under the ROC curve, m positives and m negatives."""
    for m in (10, 20, 50, 100):
        for true, shift in ((0.7, 0.7416), (0.9, 1.8124), (0.97, 2.6599)):

            def draw(
                random: np.random.Generator, m: int = m, true: float = true, shift: float = shift
            ) -> Mapping[str, bool]:
                scores = random.normal(size=2 * m)
                positive = np.arange(2 * m) < m
                scores[positive] += shift
                spread = ranking.variance(ranking.influence(positive, scores))
                low, high = area(ranking.auroc(positive, scores), spread, m, m)
                return {"auroc": low <= true <= high}

            yield f"m = {m}, area {true}", draw


def small_classes() -> Cells:
    """Figures over four classes, the smallest of k samples, the others of 3 k."""
    for k in (5, 10, 20, 30, 50):
        counts = (k, 3 * k, 3 * k, 3 * k)
        true = truth(counts, 1.5)

        def draw(
            random: np.random.Generator, counts: tuple[int, ...] = counts, true: dict[str, float] = true
        ) -> Mapping[str, bool]:
            scores = evaluate(drawn(random, counts))
            return {figure: holds(scores, figure, true[figure]) for figure in FIGURES}

        yield f"smallest class {k}", draw


def patients() -> Cells:
    """The same with patients of eight slices of one class, half of the variance theirs, three classes."""
    true = truth((1, 1, 1), 1.5)
    for G in (20, 50, 100):
        counts = tuple(8 * (G // 3 + (c < G % 3)) for c in range(3))

        def draw(random: np.random.Generator, counts: tuple[int, ...] = counts) -> Mapping[str, bool]:
            one = drawn(random, counts, patients=0.5, slices=8)
            scores = evaluate(one, {name: name.split("-")[0] for name in one.ids})
            known = {figure: holds(scores, figure, true[figure]) for figure in ("accuracy", *FIGURES)}
            return known | {"accuracy, as if alone": holds(evaluate(one), "accuracy", true["accuracy"])}

        yield f"{G} patients", draw


def tests() -> Cells:
    """Tests at 5 % between two equally good models that share half of their noise."""
    for k, slices in ((25, 1), (80, 1), (160, 8)):

        def draw(random: np.random.Generator, k: int = k, slices: int = slices) -> Mapping[str, bool]:
            one, other = twins(random, (k, k, k), slices)
            groups = {name: name.split("-")[0] for name in one.ids} if slices > 1 else {}
            return {
                f"{c.figure}": c.p is not None and c.p < 0.05
                for c in compare({"one": one, "other": other}, groups)
            }

        yield f"3 classes of {k}" + (f", {slices} slices a patient" if slices > 1 else ""), draw


def twins(
    random: np.random.Generator, counts: tuple[int, ...], slices: int
) -> tuple[Predictions, Predictions]:
    labels = np.repeat(range(len(counts)), counts)
    shared, *own = (noise(random, len(labels), len(counts), slices) for _ in range(3))
    raised = 1.5 * np.eye(len(counts))[labels]
    one, other = (named(labels, softmax((shared + mine) / np.sqrt(2) + raised), slices) for mine in own)
    return one, other


def noise(random: np.random.Generator, n: int, C: int, slices: int) -> np.ndarray:
    """Normal, half of its variance the patient's if there are patients."""
    alone = random.normal(size=(n, C))
    if slices == 1:
        return alone
    theirs = random.normal(size=(n // slices + 1, C))[np.arange(n) // slices]
    return np.asarray((alone + theirs) / np.sqrt(2))


def bands() -> Cells:
    """The null band of the expected calibration error, for models that are perfectly calibrated."""
    for n in (50, 100, 315, 1000):

        def draw(random: np.random.Generator, n: int = n) -> Mapping[str, bool]:
            error = calibration.calibration_error(calibrated(random, n))
            return {"ece": error.null_low <= error.value <= error.null_high}

        yield f"n = {n}", draw


def calibrated(random: np.random.Generator, n: int, C: int = 4) -> Predictions:
    rows = random.dirichlet(np.full(C, 0.5), n)
    labels = (random.random(n)[:, None] > np.cumsum(rows, axis=1)).sum(axis=1).clip(max=C - 1)
    return named(labels, rows)


def sets() -> Cells:
    """Prediction sets at alpha 0.1, the share of 500 new images a run; promised 0.9 to 0.9 + 1 / (n + 1)."""
    for n in (9, 39, 72, 300):

        def draw(random: np.random.Generator, n: int = n) -> Mapping[str, float]:
            q = conformal.quantile(calibrated(random, n), 0.1)
            return {"covered": conformal.coverage(calibrated(random, 500), q)["all"].value}

        yield f"n = {n}", draw


def gaps() -> Cells:
    """Subgroups of 300 each: how often one is flagged at 5 %, Holm corrected."""
    for what, second in (("no gap", 0.85), ("a gap of 15 points", 0.70)):

        def draw(random: np.random.Generator, second: float = second) -> Mapping[str, bool]:
            right = np.concatenate([random.random(300) < 0.85, random.random(300) < second])
            labels = random.integers(0, 2, 600)
            said = np.where(right, labels, 1 - labels)
            one = named(labels, np.where(np.eye(2)[said] > 0, 0.8, 0.2))
            sites = [set(one.ids[:300]), set(one.ids[300:])]
            p_values = holm([against_the_rest(one, site) or 0.0 for site in sites])
            return {"flagged": any(p < 0.05 for p in p_values)}

        yield what, draw


if __name__ == "__main__":
    main()
