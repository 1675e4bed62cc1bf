"""Sections that compare models on the same images: paired tests, and whether they make the same errors."""

from collections.abc import Iterator, Sequence
from itertools import combinations

from tumorboard.errors import plural
from tumorboard.evaluation.error_agreement import compare_errors, correct_by_any
from tumorboard.evaluation.intervals import proportion
from tumorboard.evaluation.significance import Comparison
from tumorboard.reports.document import (
    BulletList,
    Cell,
    Paragraph,
    Section,
    Table,
    in_words,
)
from tumorboard.reports.run_results import COMBINED, RunResults

COMPARED = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "loss": "log loss",
}


def differences(comparisons: Sequence[Comparison]) -> Section:
    """All pairs of models, the first's metric minus the second's, with tests corrected for their number."""
    title, anchor = "Differences between models", "differences"
    if not comparisons:
        return Section(title, [Paragraph("There is one model only.")], anchor)
    by_key = {(pair.first, pair.second, pair.metric): pair for pair in comparisons}
    pairs = list(dict.fromkeys((pair.first, pair.second) for pair in comparisons))
    rows: list[list[Cell]] = [
        [f"{first} - {second}", *(by_key[first, second, key] for key in COMPARED)] for first, second in pairs
    ]
    tests = dict.fromkeys(
        f"{COMPARED[pair.metric]}: {pair.test}" for pair in comparisons if pair.metric in COMPARED
    )
    caption = f"First model minus second, on the same {comparisons[0].n} images"
    note = (
        "In parentheses: 95% CI of each difference by itself. p is corrected by Holm's method for "
        f"{plural(len(pairs), 'pair')} of models within each column ({', '.join(tests)}). p > 0.05 is "
        "not evidence that the models are equally good. Nothing was chosen by this table."
    )
    return Section(title, [Table(["models", *COMPARED.values()], rows, caption), Paragraph(note)], anchor)


def error_agreement(results: RunResults) -> Section:
    """Whether the models err on the same images, which decides if combining them can help."""
    models = results.test_predictions
    rows: list[list[Cell]] = []
    for first, second in combinations(models, 2):
        pair = compare_errors(models[first], models[second])
        same = proportion(pair.same_prediction, pair.n)
        counts = (pair.both, pair.only_first, pair.only_second, pair.neither)
        rows.append([f"{first}, {second}", same, *counts, pair.correlation])
    right = ["both right", "only first right", "only second right", "both wrong"]
    header = ["models", "same prediction", *right, "correlation of errors"]
    return Section(
        "Agreement of errors",
        [
            Paragraph("All numbers are of test; nothing was chosen by them."),
            BulletList(list(_gains_of_combining(results))),
            Table(header, rows, "Agreement of the models on test"),
            Paragraph(
                "Errors on the same images (correlation near 1) leave nothing for a combination to correct. "
                "Whether a difference is statistically significant: see the differences between models."
            ),
        ],
        "agreement",
    )


def _gains_of_combining(results: RunResults) -> Iterator[str]:
    models = results.test_predictions
    members = {name: predictions for name, predictions in models.items() if name not in COMBINED}
    if len(members) > 1:
        bound = proportion(correct_by_any(members), len(results.reference["test"]))
        yield (
            f"At least one of {', '.join(members)} is right on {in_words(bound)} of the images: no choice "
            "among their predictions can be right more often (an oracle's bound)."
        )
    losses = {name: results.scores[name]["valid"].loss.value or 0.0 for name in members}
    best = min(losses, key=lambda name: losses[name], default="")
    for name in COMBINED if members else ():
        for member in members if name in models else ():
            pair = compare_errors(models[name], models[member])
            net = pair.only_first - pair.only_second
            effect = f"a net {'gain' if net > 0 else 'loss'} of {abs(net)}" if net else "no net difference"
            yield (
                f"{name} against {member}: corrects {pair.only_first} of its errors and adds "
                f"{pair.only_second}, of {pair.n} images; {effect}."
            )
    for name in members:
        if name != best:
            pair = compare_errors(models[name], models[best])
            yield (
                f"{name} and {best}: {name} is right on {pair.only_first} of the "
                f"{plural(pair.only_first + pair.neither, 'image')} on which {best} is wrong, and wrong on "
                f"{pair.only_second} on which {best} is right."
            )
