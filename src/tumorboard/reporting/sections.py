"""The report's parts that show how well the models do: tables, curves, matrices."""

from collections.abc import Iterator, Mapping

from tumorboard.evaluation.metrics import confusion_matrix
from tumorboard.evaluation.scores import Scores
from tumorboard.predictions import Predictions
from tumorboard.reporting import plots, sureness, svg
from tumorboard.reporting.charts import Chart
from tumorboard.reporting.html import Html, details, element, items, join, section, table
from tumorboard.reporting.material import Material
from tumorboard.reporting.numbers import Figure, of_n, shown
from tumorboard.reporting.study import SPLITS

TITLES = {"train": "train", "valid": "validation", "test": "test"}


def findings(material: Material) -> Html:
    """All findings of the audit, the worst first."""
    rows = [[one.code, one.severity, one.title, one.consequence] for one in material.study.facts.findings]
    if not rows:
        return section("audit", "Findings of the audit", element("p", "The audit found nothing."))
    header = ["code", "severity", "what was found", "what it means"]
    return section("audit", "Findings of the audit", table("Findings, the worst first", header, rows))


def results(material: Material) -> Html:
    """The study's table, test without what makes it easy, and recall by class."""
    summary = material.summary
    return section(
        "results",
        "Results",
        _loss_and_accuracy(material),
        *_intervals(material),
        *_subsets(material, "test", summary.test_subsets),
        *_subsets(material, "valid", summary.valid_subsets),
        *(_recalls(material, split) for split in ("valid", "test")),
        element("p", "The last two rows of the first table see no image. Loss is the mean log loss in nats."),
        *sureness.all_figures(material),
        details(
            "Balance, average and composite: the study's own description",
            *_description(summary.description_scores),
        ),
    )


def _everyone(material: Material) -> dict[str, dict[str, Scores]]:
    return {**material.summary.models, **material.summary.baselines}


def _loss_and_accuracy(material: Material) -> Html:
    header = ["model", *(f"{TITLES[s]} {what}" for s in SPLITS for what in ("loss", "accuracy"))]
    sizes = ", ".join(f"{TITLES[s]} n = {len(material.study.labels[s])}" for s in SPLITS)
    rows = [
        [name, *(cell for s in SPLITS for cell in (shown(one[s].loss), shown(one[s].accuracy)))]
        for name, one in _everyone(material).items()
    ]
    return table(f"Loss, and accuracy with its 95 % Wilson interval; {sizes}", header, rows)


def _intervals(material: Material) -> Iterator[Html]:
    """Test accuracies drawn on one scale, so that overlap is seen."""
    yield element("h3", "Test accuracy, drawn with its interval")
    rows = []
    for name, one in _everyone(material).items():
        share = one["test"].accuracy
        rows.append([name, _bar(share), of_n(share)])
    yield table("Scale from 0 to 1", ["model", "interval", "accuracy"], rows)


def _bar(share: Figure) -> Html:
    start, dot, end = (4 + 192 * (one or 0.0) for one in (share.low, share.value, share.high))
    return element(
        "svg",
        element("path", d="M4 10H196", class_="axis"),
        element("path", d=f"M{start:.1f} 10H{end:.1f}", class_="c0", stroke_width="4"),
        element("circle", cx=f"{dot:.1f}", cy="10", r="5", class_="c0"),
        viewBox="0 0 200 20",
        class_="bar",
        aria_hidden="true",
    )


def _subsets(material: Material, split: str, subsets: Mapping[str, Mapping[str, Scores]]) -> Iterator[Html]:
    if subsets:
        rows = [
            [name, of_n(one[split].accuracy), *(of_n(part[name].accuracy) for part in subsets.values())]
            for name, one in _everyone(material).items()
        ]
        yield table(
            f"{TITLES[split].capitalize()} accuracy, as given and without images that make it easy",
            ["model", "as given", *subsets],
            rows,
        )


def _recalls(material: Material, split: str) -> Html:
    names = material.study.class_names
    rows = [
        [name, *(of_n(one[split].recall[c]) for c in names)] for name, one in material.summary.models.items()
    ]
    return table(f"Recall of each class on {TITLES[split]}: the share that is found", ["model", *names], rows)


def _description(scores: Mapping[str, object]) -> Iterator[Html]:
    yield element(
        "p",
        "It contains test figures: nothing was chosen by it, and nothing should be. Balance is 1 - the "
        "largest gap between any two of the three accuracies, average their mean, composite 0.5 balance + "
        "0.5 average.",
    )
    keys = ("balance", "average", "composite")
    rows = [[name, *(shown(getattr(one, key)) for key in keys)] for name, one in scores.items()]
    yield table("Description", ["model", *keys], rows)


_HOW_TO_READ = (
    "The grey upright line marks the epoch whose weights were kept. Train is the mean over an epoch, on "
    "augmented images, with dropout and while the weights change; validation is scored at its end, without. "
    "Both losses are the one that was trained with: where labels are smoothed even a perfect model's is not "
    "0, and it is not the log loss of the tables."
)


def learning(material: Material) -> Html:
    """Verdicts in words, and the curves that they were not read from but agree with."""
    words = [join([element("strong", f"{n}: "), text]) for n, text in material.summary.verdicts.items()]
    return section(
        "learning",
        "Learning, over- and underfitting",
        element("p", "Judged from train and validation alone."),
        items(words),
        grid(plots.learning(material)),
        element("p", _HOW_TO_READ),
    )


def grid(charts: Mapping[str, Chart]) -> Html:
    """Charts side by side as the width allows."""
    return element("div", *(svg.figure(chart) for chart in charts.values()), class_="grid")


def confusion(material: Material) -> Html:
    """Counts of test, a table a model."""
    tables = [_matrix(name, one) for name, one in material.test.items()]
    note = "Rows are the true classes, columns the answers; the stronger the colour, the larger the share."
    return section("confusion", "Which classes are taken for which", element("p", note), *tables)


def _matrix(name: str, one: Predictions) -> Html:
    counts = confusion_matrix(one.labels, one.predicted, len(one.class_names))
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    rows = []
    for true, line, share in zip(one.class_names, counts, shares, strict=True):
        cells = [
            element("span", str(n), class_=f"heat h{int(4 * s + 0.5)}")
            for n, s in zip(line, share, strict=True)
        ]
        rows.append([true, *cells])
    return table(f"{name}: images of test, n = {len(one)}", ["true class", *one.class_names], rows)


def discrimination(material: Material) -> Html:
    """ROC and precision-recall curves on test, each class against the rest."""
    return section(
        "curves",
        "Ranking: ROC and precision-recall",
        element("p", "Each class against the rest, on test. The diagonal is what a coin would draw."),
        grid(plots.roc(material)),
        grid(plots.precision_recall(material)),
    )


def calibration(material: Material) -> Html:
    """Reliability diagrams on test, with the number of images behind each point."""
    counts = [f"{one.title}. {one.summary}." for one in plots.reliability(material).values()]
    return section(
        "calibration",
        "Does the confidence mean what it says?",
        element(
            "p",
            "Answers of confidence 0.8 should be right 8 times in 10. Points under the diagonal: "
            "too sure of itself; above: too careful. A bar that crosses the diagonal shows neither.",
        ),
        grid(plots.reliability(material)),
        details("Images behind each point, from left to right", items(counts)),
        *sureness.calibrated(material),
    )
