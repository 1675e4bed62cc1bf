"""The report's parts that say how sure its figures are: all figures, differences, calibration, referral."""

from collections.abc import Iterator, Mapping, Sequence

from tumorboard.evaluation import calibration
from tumorboard.evaluation.scores import Scores
from tumorboard.evaluation.selective_prediction import (
    TARGET_ACCURACY,
    CalibratedPerformance,
    selective_accuracy,
)
from tumorboard.evaluation.significance import Comparison
from tumorboard.reporting import plots, svg
from tumorboard.reporting.certainty import COMPARED, FIGURES, answered, class_figures, difference, with_band
from tumorboard.reporting.html import Html, details, element, section, table
from tumorboard.reporting.material import Material
from tumorboard.reporting.numbers import of_n, percent, shown

_BAND = (
    "ECE: expected calibration error, and in brackets the band in which 95 % of perfectly calibrated models "
    "would fall with as many images; only a value above its band is evidence of wrong probabilities."
)


def all_figures(material: Material) -> Iterator[Html]:
    """Every figure over all classes on test, and the recommended model's by class; opened on demand."""
    summary = material.summary
    everyone = {**summary.models, **summary.baselines}
    rows = [
        [name, *(shown(getattr(s["test"], key)) for key in FIGURES), with_band(s["test"].ece)]
        for name, s in everyone.items()
    ]
    chosen = summary.models[material.recommended]["test"]
    drawn = "images within classes" if chosen.groups is None else f"the {chosen.groups} groups (patients)"
    yield details(
        "All figures on test, and each class against the others",
        table(f"Test, n = {chosen.n}", ["model", *FIGURES.values(), "ECE"], rows),
        element(
            "p",
            "In brackets 95 % intervals: balanced accuracy from Wilson's, AUROC from DeLong's variance, the "
            f"others by drawing {drawn} anew (BCa bootstrap); where none is honest, none is given. {_BAND}",
        ),
        _by_class(material.recommended, chosen),
        element("p", "A guess has its class's prevalence as AUPRC, and 0.5 as AUROC."),
    )


def _by_class(name: str, scores: Scores) -> Html:
    columns = class_figures(scores)
    rows = [[c, *(of_n(one[c]) for one in columns.values())] for c in scores.recall]
    return table(f"{name}: each class of test against the others", ["class", *columns], rows)


def differences(material: Material) -> Html:
    """All pairs of models on the same test images, corrected for their number."""
    found = material.summary.comparisons["test"]
    if not found:
        return section("differences", "Differences between models", element("p", "There is one model only."))
    return section("differences", "Differences between models", _pairs(found), element("p", _tests(found)))


def _pairs(found: Sequence[Comparison]) -> Html:
    by_key = {(one.first, one.second, one.metric): one for one in found}
    pairs = dict.fromkeys((one.first, one.second) for one in found)
    rows = [
        [f"{first} - {second}", *(_difference(by_key[first, second, key]) for key in COMPARED)]
        for first, second in pairs
    ]
    caption = f"The first model's figure less the second's, on the same {found[0].n} test images"
    return table(caption, ["models", *COMPARED.values()], rows)


def _difference(one: Comparison) -> Html | str:
    said = difference(one)
    sure = one.difference is not None and one.p_holm is not None and one.p_holm < 0.05
    return element("strong", said) if sure else said


def _tests(found: Sequence[Comparison]) -> str:
    tests = dict.fromkeys(f"{COMPARED[one.metric]}: {one.test}" for one in found if one.metric in COMPARED)
    pairs = len({(one.first, one.second) for one in found})
    return (
        f"In brackets the 95 % interval of each difference by itself. p is corrected for {pairs} "
        f"pair{'' if pairs == 1 else 's'} by Holm's method within each column ({', '.join(tests)}); "
        "bold below 0.05. A larger p shows no difference, and no equality either. Nothing was chosen by "
        "this table."
    )


def calibrated(material: Material) -> Iterator[Html]:
    """What the temperature from validation does on test."""
    if not material.summary.trusted:
        yield element("p", "This run holds no calibration; tumorboard evaluate RUN fits one on validation.")
        return
    rows = []
    for name, one in material.summary.trusted.items():
        plain, tempered = material.summary.models[name]["test"], one.scores
        rows.append(
            [
                name,
                f"{one.calibration.temperature:.2f}",
                shown(plain.loss),
                shown(tempered.loss),
                with_band(plain.ece),
                with_band(tempered.ece),
            ]
        )
    header = ["model", "temperature", "loss", "loss, tempered", "ECE", "ECE, tempered"]
    yield table("Temperature from validation, and what it does on test", header, rows)
    yield element(
        "p", f"A temperature above 1 makes a model less sure; it changes no predicted class. {_BAND}"
    )


def trust(material: Material) -> Html:
    """Prediction sets, and what is gained by referring the unsure images to a human."""
    models = material.summary.trusted
    title = "When to ask a human"
    if not models:
        return section("trust", title, element("p", "Not known: this run holds no calibration."))
    chart = plots.referring(material)["coverage-accuracy"]
    return section(
        "trust",
        title,
        element("p", _referral(material, models.get(material.recommended))),
        element("div", svg.figure(chart), class_="lone"),
        _kept(models),
        element("p", "Accuracy on test when only the surest images are answered, the others go to a human."),
        *_sets(models),
    )


def _referral(material: Material, one: CalibratedPerformance | None) -> str:
    name = material.recommended
    if one is None or one.calibration.refer_below is None or one.selective_accuracy is None:
        return (
            f"{name}: on validation no confidence was found above which {percent(TARGET_ACCURACY)} of its "
            "answers are right. Every answer needs a human."
        )
    valid = material.study.models[name]["valid"]
    tempered = calibration.scale_predictions(valid, one.calibration.temperature)
    fitted = selective_accuracy(tempered, one.calibration.refer_below)
    return (
        f"{name}: answers of a confidence under {one.calibration.refer_below:.2f} are for a human. From it "
        f"upwards {percent(TARGET_ACCURACY)} of the validation images are right when each is tempered "
        f"without itself; at the temperature in use it is {shown(fitted)} of {fitted.n}. On test "
        f"{one.selective_accuracy.n} of {one.scores.n} images are above it, and "
        f"{shown(one.selective_accuracy)} of them are right."
    )


def _kept(models: Mapping[str, CalibratedPerformance]) -> Html:
    shares = next(iter(models.values())).accuracy_by_coverage
    header = ["model", *(f"surest {round(100 * one.coverage)} %" for one in shares), "not referred"]
    rows = [
        [name, *(of_n(part.accuracy) for part in one.accuracy_by_coverage), answered(one)]
        for name, one in models.items()
    ]
    return table("Coverage and accuracy", header, rows)


def _sets(models: Mapping[str, CalibratedPerformance]) -> Iterator[Html]:
    yield element("h3", "Prediction sets: the classes that cannot be ruled out")
    held = {name: one for name, one in models.items() if one.set_coverage}
    if not held:
        yield element("p", "None: validation has too few images for a promise.")
        return
    first = next(iter(held.values()))
    columns = {key: "true class in the set" if key == "all" else key for key in first.set_coverage}
    rows = []
    for name, one in held.items():
        sizes = ", ".join(f"{size}: {n}" for size, n in one.set_sizes.items())
        rows.append([name, sizes, *(of_n(one.set_coverage[key]) for key in columns)])
    yield table("Sets on test", ["model", "images by size of the set", *columns.values()], rows)
    yield element(
        "p",
        f"Made on validation so that {percent(1 - first.calibration.alpha)} of the sets hold the true "
        "class, on average over all classes. The promise does not hold for images of another source or "
        "another mix of classes, and is weaker because the same validation images chose the recommendation "
        "and the temperature, and with early stopping the epochs.",
    )
