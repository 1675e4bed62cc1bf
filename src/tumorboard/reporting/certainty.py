"""The parts of results.md that say how sure its figures are: intervals, tests, calibration."""

from collections.abc import Iterable, Mapping, Sequence

from tumorboard.evaluation.calibration import CalibrationError
from tumorboard.evaluation.intervals import Estimate
from tumorboard.evaluation.scores import Scores
from tumorboard.evaluation.selective_prediction import CalibratedPerformance, CoveragePoint
from tumorboard.evaluation.significance import Comparison
from tumorboard.reporting.markdown import UNDEFINED, decimals, escaped, of_n, stars, table, with_interval
from tumorboard.reporting.study import Summary

FIGURES = {
    "balanced_accuracy": "balanced accuracy",
    "mcc": "MCC",
    "macro_f1": "macro F1",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "loss": "loss",
    "brier": "Brier",
}
COMPARED = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "loss": "loss",
}


def sections(summary: Summary) -> Iterable[str]:
    """All of this module, with headings."""
    test = {name: scores["test"] for name, scores in summary.models.items()}
    yield "## All figures on test"
    yield from more_figures({**test, **{name: scores["test"] for name, scores in summary.baselines.items()}})
    chosen = summary.recommendation.model
    yield f"## Each class on test: {escaped(chosen)}"
    yield from by_class(test[chosen])
    if summary.comparisons["test"]:
        yield "## Differences between models on test"
        yield from differences(summary.comparisons["test"])
    if summary.trusted:
        yield "## Calibration, and when to ask a human"
        yield from trust(summary.trusted, test)


def more_figures(scores: Mapping[str, Scores]) -> Iterable[str]:
    """All figures over all classes, a row a model or baseline, and what is to be known of the intervals."""
    rows = [
        [escaped(name), *(with_interval(getattr(one, key)) for key in FIGURES), with_band(one.ece)]
        for name, one in scores.items()
    ]
    yield table(["model", *FIGURES.values(), "ECE"], rows)
    first = next(iter(scores.values()))
    drawn = "samples within classes" if first.groups is None else f"the {first.groups} groups (patients)"
    yield (
        f"n = {first.n}. Intervals: balanced accuracy from Wilson's, AUROC from DeLong's variance, the "
        f"others by drawing {drawn} anew (BCa bootstrap). AUROC and AUPRC are means over the classes, each "
        "against the others. ECE: expected calibration error, with the band in which 95 % of perfectly "
        "calibrated models would fall; above it the probabilities are wrong."
    )
    yield from stars(getattr(one, key) for one in scores.values() for key in FIGURES)


def by_class(scores: Scores) -> Iterable[str]:
    """Every class against the others: what is found, what is right, how it is ranked, beside its share."""
    columns = class_figures(scores)
    rows = [[escaped(name), *(of_n(one[name]) for one in columns.values())] for name in scores.recall]
    yield table(["class", *columns], rows)
    yield "A guess has its class's prevalence as AUPRC, and 0.5 as AUROC."


def class_figures(scores: Scores) -> dict[str, Mapping[str, Estimate]]:
    """By title, each figure that a class has against the others."""
    return {
        "prevalence": scores.prevalence,
        "recall (sensitivity)": scores.recall,
        "precision": scores.precision,
        "specificity": scores.specificity,
        "AUROC": scores.class_auroc,
        "AUPRC": scores.class_auprc,
    }


def with_band(error: CalibrationError) -> str:
    """The error and its null band."""
    if error.value is None or error.null_low is None or error.null_high is None:
        return UNDEFINED
    return f"{error.value:.3f} ({error.null_low:.3f} to {error.null_high:.3f})"


def differences(comparisons: Sequence[Comparison]) -> Iterable[str]:
    """A row a pair of models: the first's figure less the second's."""
    pairs = dict.fromkeys((one.first, one.second) for one in comparisons)
    found = {(one.first, one.second, one.metric): one for one in comparisons}
    rows = [
        [escaped(f"{first} - {second}"), *(difference(found[first, second, key]) for key in COMPARED)]
        for first, second in pairs
    ]
    yield table(["models", *COMPARED.values()], rows)
    tests = ", ".join(
        dict.fromkeys(f"{name}: {found[*pair, key].test}" for key, name in COMPARED.items() for pair in pairs)
    )
    yield (
        f"On the same {comparisons[0].n} samples, with the 95 % interval of each pair by itself, and p, "
        f"corrected for {len(pairs)} pairs by Holm's method within each column ({tests}). A p above 0.05 "
        "shows no difference, and no equality either."
    )


def difference(one: Comparison) -> str:
    """With its interval and its corrected p."""
    if one.difference is None or one.p_holm is None:
        return UNDEFINED
    interval = "" if one.low is None or one.high is None else f" ({one.low:+.3f} to {one.high:+.3f})"
    return f"{one.difference:+.3f}{interval}, p = {one.p_holm:.2g}"


def trust(models: Mapping[str, CalibratedPerformance], plain: Mapping[str, Scores]) -> Iterable[str]:
    """What the calibration from validation does on test."""
    header = ["model", "temperature", "loss", "loss, tempered", "ECE", "ECE, tempered"]
    yield table(
        header,
        [
            [
                escaped(name),
                decimals(one.calibration.temperature),
                with_interval(plain[name].loss),
                with_interval(one.scores.loss),
                with_band(plain[name].ece),
                with_band(one.scores.ece),
            ]
            for name, one in models.items()
        ],
    )
    yield (
        "The temperature was fitted on validation; above 1 it makes a model less sure, and it changes no "
        "predicted class."
    )
    yield from _sets(models)
    yield from _referring(models)


def _sets(models: Mapping[str, CalibratedPerformance]) -> Iterable[str]:
    classes = [key for key in next(iter(models.values())).set_coverage if key != "all"]
    rows = [[escaped(name), *_set_row(one, classes)] for name, one in models.items() if one.set_coverage]
    if not rows:
        yield "No prediction sets: validation has too few images for a promise."
        return
    alpha = next(iter(models.values())).calibration.alpha
    yield table(["model", "true class in the set", "set sizes", *(escaped(name) for name in classes)], rows)
    yield (
        f"Prediction sets: all classes that cannot be ruled out, made so that {1 - alpha:.0%} of sets hold "
        "the true class, on average over all classes. Not valid under shift, that is for images of another "
        "source or another mix of classes, and weaker because the same validation images chose the "
        "recommendation and the temperature, and with early stopping the epochs."
    )


def _set_row(one: CalibratedPerformance, classes: Sequence[str]) -> Iterable[str]:
    yield of_n(one.set_coverage["all"])
    yield ", ".join(f"{n} of {size}" for size, n in one.set_sizes.items())
    yield from (of_n(one.set_coverage[name]) for name in classes)


def _referring(models: Mapping[str, CalibratedPerformance]) -> Iterable[str]:
    shares = next(iter(models.values())).accuracy_by_coverage
    header = ["model", *(f"surest {round(100 * one.coverage)} %" for one in shares), "not referred"]
    rows = [
        [escaped(name), *(_kept(part) for part in one.accuracy_by_coverage), answered(one)]
        for name, one in models.items()
    ]
    yield table(header, rows)
    yield (
        "Accuracy when only the surest images are answered, and the others go to a human. Not referred: of "
        "more confidence than validation, each image tempered without itself, asked for to have 95 % right; "
        "n is what is left to answer."
    )


def _kept(part: CoveragePoint) -> str:
    return of_n(part.accuracy)


def answered(one: CalibratedPerformance) -> str:
    """Accuracy of what is not referred."""
    return "no threshold reaches 95 %" if one.selective_accuracy is None else of_n(one.selective_accuracy)
