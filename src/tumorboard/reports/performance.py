"""Sections on how good the models are: tables of metrics, learning curves, confusion matrices, ROC curves."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from tumorboard.data.class_folders import SPLITS
from tumorboard.errors import plural
from tumorboard.evaluation import metrics
from tumorboard.evaluation.metrics import confusion_matrix
from tumorboard.evaluation.patients import PatientScores
from tumorboard.evaluation.scores import Scores
from tumorboard.evaluation.selective_prediction import CalibratedPerformance
from tumorboard.predictions import Predictions
from tumorboard.reports.charts import MANY_CLASSES, IntervalChart, Line, LineChart, MatrixChart
from tumorboard.reports.document import Block, BulletList, Cell, Figures, Paragraph, Section, Table
from tumorboard.reports.run_results import SPLIT_TITLES, History, RunResults

METRICS = {
    "balanced_accuracy": "balanced accuracy",
    "mcc": "MCC",
    "macro_f1": "macro F1",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "loss": "log loss",
    "brier": "Brier score",
}
"""By the name in `Scores`, what a metric over all classes is called."""
ECE_NOTE = (
    "ECE is the expected calibration error; in parentheses the range in which 95% of perfectly calibrated "
    "models would fall with as many images. Only a value above its range is evidence of wrong probabilities."
)
PATIENT_METHODS = {
    "mean": "the mean of the probabilities",
    "log_odds": "the mean of the log-odds",
    "any": "the largest probability of the positive class",
}
"""What the methods of `evaluation.patients` are called."""
_FEW = 6
"""Curves in a chart where all classes would be too many: as many as there are colors."""
Curve = tuple[metrics.Floats, metrics.Floats]
DIAGONAL = Line("", [0.0, 1.0], [0.0, 1.0])


def performance(results: RunResults) -> Section:
    """Loss, accuracy and recall of all models and baselines, and on demand every other metric."""
    columns = [f"{SPLIT_TITLES[split]} {metric}" for split in SPLITS for metric in ("log loss", "accuracy")]
    rows: list[list[Cell]] = [
        [name, *(cell for split in SPLITS for cell in (scores[split].loss, scores[split].accuracy))]
        for name, scores in results.all_scores.items()
    ]
    test = {name: scores["test"] for name, scores in results.all_scores.items()}
    balance: list[list[Cell]] = [
        [name, scores.balance, scores.average, scores.composite]
        for name, scores in results.description_scores.items()
    ]
    patients = results.patients.get("test")
    return Section(
        "Performance",
        [
            *(
                [replace(patient_section(patients, test, results.scores, results.calibration), folded=True)]
                if patients
                else []
            ),
            Section(
                "Log loss, accuracy and recall on train, validation and test",
                [
                    Table(["model", *columns], rows, "Log loss and accuracy"),
                    Paragraph(
                        "In parentheses: 95% CI, of proportions Wilson's interval"
                        + (", which accounts for groups (patients)" if results.test_scores.groups else "")
                        + ". Log loss is the mean in nats. The last two rows see no image: the majority "
                        "class of train for every image (always certain, hence the large loss), and the "
                        "class frequencies of train as probabilities."
                    ),
                    *(_subset_table(results, split) for split in ("test", "valid") if results.subsets[split]),
                    *(
                        recall_table(
                            {name: scores[split] for name, scores in results.scores.items()},
                            f"Recall of each class on {SPLIT_TITLES[split]}",
                        )
                        for split in ("valid", "test")
                    ),
                ],
                folded=True,
            ),
            Section(
                "All metrics on test",
                [*metric_blocks(test), class_table(results.recommended, results.test_scores)],
                folded=True,
            ),
            Section(
                "Balance, average and composite",
                [
                    Paragraph(
                        "It contains test accuracies: nothing was chosen by it, and nothing should be. "
                        "Balance is 1 - the largest gap between any two of the accuracies on train, "
                        "validation and test, average is their mean, composite is 0.5 balance + 0.5 average."
                    ),
                    Table(["model", "balance", "average", "composite"], balance, "Description of the models"),
                ],
                folded=True,
            ),
        ],
        "performance",
    )


def accuracy_chart(results: RunResults) -> IntervalChart:
    """Test accuracy of all models and baselines, also without the images that make it easy."""
    accuracies = {name: scores["test"].accuracy for name, scores in results.all_scores.items()}
    subsets = {
        title: {name: scores[name].accuracy for name in accuracies}
        for title, scores in results.subsets["test"].items()
    }
    return IntervalChart("accuracy-test", "Test accuracy with 95% CI", "accuracy", accuracies, subsets)


def metric_blocks(scores: Mapping[str, Scores]) -> list[Block]:
    """Return a table with every metric over all classes, and what to know about the intervals."""
    first = next(iter(scores.values()))
    drawn = "images within classes" if first.groups is None else f"the {first.groups} groups (patients)"
    return [
        Table(
            ["model", *METRICS.values(), "ECE"],
            [[name, *(getattr(each, key) for key in METRICS), each.ece] for name, each in scores.items()],
            "Metrics over all classes",
        ),
        Paragraph(
            "Intervals: balanced accuracy from Wilson's intervals of the recalls, AUROC from DeLong's "
            f"variance, the others by resampling {drawn} (BCa bootstrap); where none can be trusted, none "
            f"is given. AUROC and AUPRC are means over the classes, each against the others. {ECE_NOTE}"
        ),
    ]


def patient_section(
    patients: PatientScores,
    images: Mapping[str, Scores],
    models: Collection[str],
    calibration: Mapping[str, CalibratedPerformance] = {},
) -> Section:
    """Figures per patient beside those per image.

    Args:
        patients: Per patient.
        images: By model or baseline, per image.
        models: Those that are no baselines.
        calibration: By model, on these images; probabilities per patient are calibrated ones too.
    """
    stated = {
        name: replace(scores, ece=calibration[name].scores.ece) if name in calibration else scores
        for name, scores in images.items()
    }
    shown = {
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced accuracy",
        "auroc": "AUROC",
        "ece": "ECE",
    }
    header = [f"{title} per {unit}" for title in shown.values() for unit in ("image", "patient")]
    rows: list[list[Cell]] = [
        [
            name,
            patients.rules[name].method,
            *(getattr(scores, key) for key in shown for scores in (stated[name], per_patient)),
        ]
        for name, per_patient in patients.scores.items()
    ]
    return Section(
        "Per patient",
        [
            Paragraph(patients_in_words(patients, models)),
            Table(["model", "combined by", *header], rows, "Per patient and per image"),
            *(class_table(f"{name}, per patient", patients.scores[name]) for name in models),
        ],
        "patients",
    )


def patients_in_words(patients: PatientScores, models: Collection[str]) -> str:
    """Describe what the figures per patient are of, and how these models' predictions are combined."""
    text = f"{plural(patients.images - patients.alone, 'image')} of {plural(patients.patients, 'patient')}"
    if patients.found:
        text += ", as file names tell them (see TB409), which is evidence, not proof"
    text += ". Intervals take patients as the independent units."
    if patients.alone:
        text += f" Images without a patient: {patients.alone}, each counted as a patient."
    if patients.mixed:
        counted = f"as {patients.positive}" if patients.positive else "once per class"
        text += (
            f" Patients with images of several classes: {len(patients.mixed)} (named in metrics.json), "
            f"each counted {counted}."
        )
    rules: dict[str, list[str]] = {}
    for name in models:
        rule = patients.rules[name]
        rules.setdefault(f"{PATIENT_METHODS[rule.method]} ({rule.reason})", []).append(name)
    combined = "; ".join(f"{', '.join(names)}: {rule}" for rule, names in rules.items())
    return f"{text} The predictions of a patient's images are combined: {combined}."


def recall_table(scores: Mapping[str, Scores], caption: str) -> Table:
    """Return the recall of each class by each model; the classes, which may be many, are rows."""
    rows: list[list[Cell]] = [
        [c, *(each.recall[c] for each in scores.values())] for c in next(iter(scores.values())).recall
    ]
    return Table(["class", *scores], rows, caption)


def class_table(name: str, scores: Scores) -> Table:
    """Return the metrics of each class against the others."""
    columns = {
        "prevalence (AUPRC of a guess)": scores.prevalence,
        "recall (sensitivity)": scores.recall,
        "precision": scores.precision,
        "specificity": scores.specificity,
        "AUROC": scores.class_auroc,
        "AUPRC": scores.class_auprc,
    }
    rows: list[list[Cell]] = [[c, *(column[c] for column in columns.values())] for c in scores.recall]
    return Table(["class", *columns], rows, f"{name}: each class against the others")


def _subset_table(results: RunResults, split: str) -> Table:
    """Accuracy on all images, beside what is left of it without those that make it easy."""
    subsets = results.subsets[split]
    rows: list[list[Cell]] = [
        [name, scores[split].accuracy, *(subset[name].accuracy for subset in subsets.values())]
        for name, scores in results.all_scores.items()
    ]
    title = SPLIT_TITLES[split].capitalize()
    caption = f"{title} accuracy on all images, and without images that make it easy"
    return Table(["model", "all images", *subsets], rows, caption)


def learning_curves(results: RunResults) -> Section:
    """Verdicts on over- and underfitting, and loss and accuracy over the epochs."""
    made = results.provenance
    charts = [
        _learning_chart(name, rows, metric, made.loss_titles.get(name, "loss"), made.best_epochs.get(name))
        for name, rows in made.histories.items()
        for metric in ("loss", "accuracy")
    ]
    note = (
        "The vertical line marks the epoch whose weights were kept. Train is the mean over an epoch, on "
        "augmented images, with dropout and while the weights change; validation is scored at the end of "
        "the epoch, without. The loss is the one that was trained with: with smoothed labels even a perfect "
        "model's is not 0, and it is not the log loss of the tables."
    )
    verdicts = [Paragraph(text, f"{name}:") for name, text in results.fit_verdicts.items()]
    return Section(
        "Over- and underfitting",
        [
            Paragraph("Judged from train and validation alone."),
            BulletList(verdicts),
            Figures(charts),
            Section("How to read the learning curves", [Paragraph(note)], folded=True),
        ],
        "learning",
    )


def _learning_chart(name: str, rows: History, metric: str, loss_title: str, best: int | None) -> LineChart:
    lines = []
    for title, key in (("train", metric), ("validation", f"val_{metric}")):
        known = [row for row in rows if math.isfinite(row[key])]
        lines.append(Line(title, [row["epoch"] for row in known], [row[key] for row in known]))
    top = 1.0 if metric == "accuracy" else max((y for line in lines for y in line.y), default=1.0)
    if best is not None:
        lines.append(Line("", [best, best], [0.0, top]))
    return LineChart(
        f"learning-{metric}-{name}",
        f"{name}: {metric}",
        "epoch",
        loss_title if metric == "loss" else metric,
        lines,
        (rows[0]["epoch"], rows[-1]["epoch"]),
        (0.0, top),
        "" if best is None else f"Weights of epoch {best} were kept.",
    )


def confusion_matrices(results: RunResults) -> Section:
    """Which classes are mistaken for which, on each split."""
    figures = {
        split: Figures(
            [_matrix(name, by_split[split], split) for name, by_split in results.predictions.items()]
        )
        for split in SPLITS
    }
    return Section(
        "Confusion matrices",
        [
            Paragraph(
                "Counts of test images: rows are the true classes, columns the predicted ones; the stronger "
                "the color, the larger the share of the true class."
            ),
            figures["test"],
            Section("On train and validation", [figures["train"], figures["valid"]], folded=True),
        ],
        "confusion",
    )


def _matrix(name: str, predictions: Predictions, split: str) -> MatrixChart:
    names = predictions.class_names
    counts = confusion_matrix(predictions.labels, predictions.predicted, len(names)).tolist()
    title = f"{name} on {SPLIT_TITLES[split]}, n = {len(predictions)}"
    return MatrixChart(f"confusion-{split}-{name}", title, names, counts)


def ranking_curves(results: RunResults) -> Section:
    """ROC and precision-recall curves on test, each class against the rest."""
    rates = "false positive rate", "true positive rate"
    roc, precision_recall = [], []
    for name, predictions in results.test_predictions.items():
        drawn = _drawn_classes(results.scores[name]["test"])
        lines = [*_class_curves(predictions, metrics.roc_curve, drawn), DIAGONAL]
        roc.append(LineChart(f"roc-{name}", f"{name}: ROC", *rates, lines))
        lines = _class_curves(predictions, metrics.precision_recall_curve, drawn)
        title = f"{name}: precision and recall"
        precision_recall.append(LineChart(f"pr-{name}", title, "recall", "precision", lines))
    n = len(results.class_names)
    which = (
        "Each class"
        if n <= MANY_CLASSES
        else f"Of {n} classes the {_FEW} with each model's lowest AUROC, each"
    )
    return Section(
        "ROC and precision-recall curves",
        [
            Paragraph(f"{which} against the rest, on test. The diagonal is the ROC curve of a guess."),
            Figures(roc),
            Section("Precision-recall curves", [Figures(precision_recall)], folded=True),
        ],
        "curves",
    )


def _drawn_classes(scores: Scores) -> list[str]:
    """All classes if they are few, or those of lowest AUROC, in their order."""
    known = [name for name, auroc in scores.class_auroc.items() if auroc.value is not None]
    if len(scores.class_auroc) <= MANY_CLASSES:
        return list(scores.class_auroc)
    lowest = sorted(known, key=lambda name: scores.class_auroc[name].value or 0.0)[:_FEW]
    return [name for name in known if name in lowest]


def _class_curves(
    predictions: Predictions, curve: Callable[[Predictions, int], Curve | None], drawn: Collection[str]
) -> list[Line]:
    """A line per drawn class that has a curve, with its number of images in the legend."""
    lines = []
    for c, name in enumerate(predictions.class_names):
        points = curve(predictions, c) if name in drawn else None
        if points is not None:
            n = int((predictions.labels == c).sum())
            lines.append(Line(f"{name} (n = {n})", points[0].tolist(), points[1].tolist()))
    return lines
