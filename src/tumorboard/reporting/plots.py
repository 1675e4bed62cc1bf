"""The charts of a report, by file name."""

from collections.abc import Iterator
from dataclasses import replace

from tumorboard.evaluation import calibration, metrics
from tumorboard.predictions import Predictions
from tumorboard.reporting.charts import Chart, Line
from tumorboard.reporting.material import History, Material

_DIAGONAL = Line("", [0.0, 1.0], [0.0, 1.0])


def learning(material: Material) -> dict[str, Chart]:
    """Loss and accuracy over the epochs of each model that was fitted."""
    found = {}
    for name, rows in material.histories.items():
        for metric in ("loss", "accuracy"):
            title = material.losses.get(name, metric) if metric == "loss" else metric
            one = _learning(name, rows, metric, material.best_epochs.get(name))
            found[f"learning-{metric}-{name}"] = replace(one, y_label=title)
    return found


def _learning(name: str, rows: History, metric: str, best: int | None) -> Chart:
    keys = {"train": metric, "validation": f"val_{metric}"}
    lines = [
        Line(title, [row["epoch"] for row in rows], [row[key] for row in rows]) for title, key in keys.items()
    ]
    epochs, top = (rows[0]["epoch"], rows[-1]["epoch"]), 1.0
    if metric == "loss":
        top = max(value for line in lines for value in line.y)
    kept = f"Weights of epoch {best} were kept." if best is not None else ""
    if best is not None:
        lines.append(Line("", [best, best], [0.0, top]))
    return Chart(f"{name}: {metric}", "epoch", metric, lines, epochs, (0.0, top), kept)


def roc(material: Material) -> dict[str, Chart]:
    """ROC of every class against the rest on test, a chart a model."""
    return {
        f"roc-{name}": Chart(
            f"{name}: ROC", "false positive rate", "true positive rate", [*_roc(one), _DIAGONAL]
        )
        for name, one in material.test.items()
    }


def _roc(one: Predictions) -> Iterator[Line]:
    for c, class_name in enumerate(one.class_names):
        points = metrics.roc_curve(one, c)
        if points is not None:
            yield Line(class_name, points[0].tolist(), points[1].tolist())


def precision_recall(material: Material) -> dict[str, Chart]:
    """Precision over recall of every class on test, a chart a model."""
    return {
        f"pr-{name}": Chart(f"{name}: precision and recall", "recall", "precision", [*_precision(one)])
        for name, one in material.test.items()
    }


def _precision(one: Predictions) -> Iterator[Line]:
    for c, class_name in enumerate(one.class_names):
        points = metrics.precision_recall_curve(one, c)
        if points is not None:
            prevalence = f"{class_name} (n = {int((one.labels == c).sum())})"
            yield Line(prevalence, points[0].tolist(), points[1].tolist())


def reliability(material: Material) -> dict[str, Chart]:
    """How often answers of a confidence are right on test, with 95 % intervals, a chart a model."""
    found = {}
    for name, one in material.test.items():
        bins = calibration.reliability(one)
        line = Line(
            f"right, of n = {len(one)}, with 95 % interval",
            [b.confidence for b in bins],
            [b.accuracy.value or 0.0 for b in bins],
            [b.accuracy.low or 0.0 for b in bins],
            [b.accuracy.high or 0.0 for b in bins],
            points=True,
        )
        counts = "Images in each point: " + ", ".join(str(b.accuracy.n) for b in bins)
        found[f"reliability-{name}"] = Chart(
            f"{name}: reliability", "confidence", "share right", [line, _DIAGONAL], summary=counts
        )
    return found


def referring(material: Material) -> dict[str, Chart]:
    """Accuracy of the surest images on test over their share; nothing without a calibration."""
    lines = [
        Line(
            name,
            [k.coverage for k in one.accuracy_by_coverage],
            [k.accuracy.value or 0.0 for k in one.accuracy_by_coverage],
            points=True,
        )
        for name, one in material.summary.trusted.items()
    ]
    if not lines:
        return {}
    title, x, y = "Accuracy of what is answered", "share answered, the surest first", "accuracy"
    return {"coverage-accuracy": Chart(title, x, y, lines, (0.4, 1.0))}


def everything(material: Material) -> dict[str, Chart]:
    """All charts by name of their file."""
    return {
        **learning(material),
        **roc(material),
        **precision_recall(material),
        **reliability(material),
        **referring(material),
    }
