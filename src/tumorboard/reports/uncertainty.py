"""Sections on confidence: calibration, selective prediction, prediction sets, out of distribution."""

import math
from collections.abc import Mapping

from tumorboard.errors import plural
from tumorboard.evaluation.calibration import reliability, scale_predictions
from tumorboard.evaluation.out_of_distribution import FALSE_ALARM_RATE
from tumorboard.evaluation.scores import Scores, group_indices
from tumorboard.evaluation.selective_prediction import (
    MIN_NOT_REFERRED,
    TARGET_ACCURACY,
    CalibratedPerformance,
    selective_accuracy,
)
from tumorboard.predictions import Predictions
from tumorboard.reports.charts import Line, LineChart
from tumorboard.reports.document import (
    Block,
    BulletList,
    Cell,
    Figures,
    Paragraph,
    Section,
    Table,
    in_words,
    percent,
)
from tumorboard.reports.performance import DIAGONAL, ECE_NOTE
from tumorboard.reports.run_results import RunResults


def calibration(results: RunResults) -> Section:
    """Reliability diagrams on test, and what the temperature from validation does there."""
    charts = [
        _reliability_chart(name, each, results.groups) for name, each in results.test_predictions.items()
    ]
    test = {name: scores["test"] for name, scores in results.scores.items()}
    return Section(
        "Calibration",
        [
            Paragraph(
                "Of predictions with confidence 0.8, 8 in 10 should be right. Points under the diagonal: the "
                "model is overconfident; above: underconfident. An error bar that crosses the diagonal shows "
                "neither."
            ),
            Figures(charts),
            Section(
                "Images per point of the reliability diagrams, from left to right",
                [BulletList([f"{chart.title}: {chart.note}" for chart in charts])],
                folded=True,
            ),
            Section(
                "Temperature scaling, fitted on validation",
                temperature_blocks(results.calibration, test),
                folded=True,
            ),
        ],
        "calibration",
    )


def _reliability_chart(name: str, predictions: Predictions, groups: Mapping[str, str]) -> LineChart:
    bins = reliability(predictions, group_indices(predictions.ids, groups))
    line = Line(
        f"accuracy with 95% CI, n = {len(predictions)}",
        [part.confidence for part in bins],
        [part.accuracy.value or 0.0 for part in bins],
        [part.accuracy.low or 0.0 for part in bins],
        [part.accuracy.high or 0.0 for part in bins],
        points=True,
    )
    counts = ", ".join(str(part.accuracy.n) for part in bins)
    title = f"{name}: reliability"
    lines = [line, DIAGONAL]
    return LineChart(f"reliability-{name}", title, "confidence", "accuracy", lines, note=f"n = {counts}")


def temperature_blocks(
    models: Mapping[str, CalibratedPerformance], uncalibrated: Mapping[str, Scores]
) -> list[Block]:
    """Return log loss and calibration error before and after temperature scaling."""
    if not models:
        return [Paragraph("This run holds no calibration; tumorboard evaluate RUN fits it on validation.")]
    rows: list[list[Cell]] = [
        [
            name,
            f"{model.calibration.temperature:.2f}",
            uncalibrated[name].loss,
            model.scores.loss,
            uncalibrated[name].ece,
            model.scores.ece,
        ]
        for name, model in models.items()
    ]
    header = ["model", "temperature", "log loss", "log loss, calibrated", "ECE", "ECE, calibrated"]
    return [
        Table(header, rows, "Temperature scaling, fitted on validation"),
        Paragraph(
            "A temperature above 1 lowers the confidence; it changes no predicted class. " + ECE_NOTE,
        ),
    ]


def selective_prediction(results: RunResults) -> Section:
    """What is gained by referring uncertain images to a human, and how prediction sets do on test."""
    title, anchor = "Selective prediction: when to refer to a human", "selective"
    if not results.calibration:
        return Section(title, [Paragraph("Not known: this run holds no calibration.")], anchor)
    lines = [
        Line(
            name,
            [point.coverage for point in model.accuracy_by_coverage],
            [point.accuracy.value or 0.0 for point in model.accuracy_by_coverage],
            points=True,
        )
        for name, model in results.calibration.items()
    ]
    labels = "Accuracy of the images that are not referred", "coverage, most confident first", "accuracy"
    chart = LineChart("coverage-accuracy", *labels, lines, (0.4, 1.0))
    tables = Section(
        "Accuracy by coverage, prediction sets", calibrated_blocks(results.calibration), folded=True
    )
    per_patient = patient_calibration_blocks(results.patient_calibration)
    return Section(title, [Figures([chart]), Paragraph(_referral(results)), *per_patient, tables], anchor)


def calibrated_blocks(models: Mapping[str, CalibratedPerformance]) -> list[Block]:
    """Return accuracy by coverage, prediction sets, and what is out of distribution."""
    out_of_distribution = [
        Paragraph(
            f"{name} flags an image whose squared Mahalanobis distance from the training images is above "
            f"{model.calibration.ood_threshold:.1f}; {percent(FALSE_ALARM_RATE)} of images like those of "
            "validation are above it.",
            "Out of distribution:",
        )
        for name, model in models.items()
        if model.calibration.ood_threshold is not None
    ]
    return [*_coverage_blocks(models), _prediction_sets(models), *out_of_distribution]


def patient_calibration_blocks(models: Mapping[str, CalibratedPerformance]) -> list[Block]:
    """Return how prediction sets and referral that were calibrated per patient do on other patients."""
    if not models:
        return []
    first = next(iter(models.values()))
    n, alpha = first.calibration.n, first.calibration.alpha
    too_few = "too few patients"
    without = too_few if n < MIN_NOT_REFERRED else f"no threshold reaches {percent(TARGET_ACCURACY)}"
    rows: list[list[Cell]] = [
        [
            name,
            model.set_coverage.get("all", too_few),
            ", ".join(f"{size}: {count}" for size, count in model.set_sizes.items()),
            model.selective_accuracy or without,
        ]
        for name, model in models.items()
    ]
    return [
        Table(
            ["model", "class of the patient in the set", "patients by size of the set", "not referred"],
            rows,
            f"Prediction sets and referral per patient: {plural(first.scores.n, 'patient')}",
        ),
        Paragraph(
            f"Calibrated on {plural(n, 'validation patient')}: {percent(1 - alpha)} of the sets hold the "
            f"class of the patient, on average, which takes {math.ceil(1 / alpha - 1)} patients; above the "
            f"threshold {percent(TARGET_ACCURACY)} of the patients are right, which takes "
            f"{MIN_NOT_REFERRED}. With fewer, patients are referred below the threshold of single images."
        ),
    ]


def _referral(results: RunResults) -> str:
    name = results.recommended
    model = results.calibration.get(name)
    if model is None or model.calibration.refer_below is None or model.selective_accuracy is None:
        return (
            f"{name}: no confidence was found on validation above which {percent(TARGET_ACCURACY)} of its "
            "predictions are right. Every image needs a human."
        )
    valid = scale_predictions(results.predictions[name]["valid"], model.calibration.temperature)
    fitted = selective_accuracy(
        valid, model.calibration.refer_below, group_indices(valid.ids, results.groups)
    )
    return (
        f"{name}: images with a confidence below {model.calibration.refer_below:.2f} are referred to a "
        f"human. Above it, {percent(TARGET_ACCURACY)} of the validation images are right when the "
        "temperature is fitted without the image itself; with the temperature in use accuracy is "
        f"{in_words(fitted)}. On test, {model.selective_accuracy.n} of {model.scores.n} images are not "
        f"referred; their accuracy is {in_words(model.selective_accuracy)}."
    )


def _coverage_blocks(models: Mapping[str, CalibratedPerformance]) -> list[Block]:
    curve = next(iter(models.values())).accuracy_by_coverage
    header = ["model", *(f"most confident {percent(part.coverage)}" for part in curve), "not referred"]
    rows: list[list[Cell]] = [
        [
            name,
            *(part.accuracy for part in model.accuracy_by_coverage),
            f"no threshold reaches {percent(TARGET_ACCURACY)}"
            if model.selective_accuracy is None
            else model.selective_accuracy,
        ]
        for name, model in models.items()
    ]
    return [
        Table(header, rows, "Accuracy by coverage"),
        Paragraph(
            "Accuracy on the most confident images when all others are referred to a human. Not referred: "
            f"images above the confidence at which {percent(TARGET_ACCURACY)} of the validation images are "
            "right, each calibrated without itself; n is the number of images that are left."
        ),
    ]


def _prediction_sets(models: Mapping[str, CalibratedPerformance]) -> Section:
    title = "Prediction sets: the classes that cannot be ruled out"
    with_sets = {name: model for name, model in models.items() if model.set_coverage}
    if not with_sets:
        return Section(title, [Paragraph("None: validation has too few images to guarantee a coverage.")])
    first = next(iter(with_sets.values()))
    sizes = [", ".join(f"{size}: {n}" for size, n in model.set_sizes.items()) for model in with_sets.values()]
    rows: list[list[Cell]] = [["images by size of the set", *sizes]]
    for key in first.set_coverage:
        title = "true class in the set" if key == "all" else f"of {key}"
        rows.append([title, *(model.set_coverage[key] for model in with_sets.values())])
    return Section(
        title,
        [
            Table(["images", *with_sets], rows, "Coverage of the prediction sets"),
            Paragraph(
                f"Conformal sets, fitted on validation so that {percent(1 - first.calibration.alpha)} of "
                "them hold the true class, on average over all classes. The guarantee does not hold under "
                "shift, that is for images of another source or another mix of classes, and is weaker "
                "because the same validation images chose the recommended model and the temperature, and "
                "with early stopping the epochs."
            ),
        ],
    )
