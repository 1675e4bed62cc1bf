"""Sections that compare models on the same images: paired tests, and whether they make the same errors."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from tumorboard.evaluation.error_agreement import ErrorAgreement, compare_errors, correct_by_any
from tumorboard.evaluation.intervals import proportion
from tumorboard.evaluation.metrics import log_loss
from tumorboard.evaluation.significance import Comparison
from tumorboard.predictions import Predictions
from tumorboard.reports.document import (
    Block,
    BulletList,
    Cell,
    Paragraph,
    Section,
    Table,
    in_words,
    number,
    plural,
)
from tumorboard.reports.run_results import COMBINED, RunResults

COMPARED = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "loss": "log loss",
}


def differences(comparisons: Sequence[Comparison]) -> Section:
    """All pairs of models, with tests corrected for their number."""
    blocks = comparison_blocks(comparisons) if comparisons else [Paragraph("There is one model only.")]
    return Section("Differences between models", blocks, "differences")


def comparison_blocks(comparisons: Sequence[Comparison]) -> list[Block]:
    """Return a row per pair of models: the first model's metric minus the second's."""
    by_key = {(one.first, one.second, one.metric): one for one in comparisons}
    pairs = list(dict.fromkeys((one.first, one.second) for one in comparisons))
    rows: list[list[Cell]] = [
        [f"{first} - {second}", *(by_key[first, second, key] for key in COMPARED)] for first, second in pairs
    ]
    tests = dict.fromkeys(
        f"{COMPARED[one.metric]}: {one.test}" for one in comparisons if one.metric in COMPARED
    )
    return [
        Table(
            ["models", *COMPARED.values()],
            rows,
            f"First model minus second, on the same {comparisons[0].n} images",
        ),
        Paragraph(
            "In parentheses: 95% CI of each difference by itself. p is corrected by Holm's method for "
            f"{plural(len(pairs), 'pair')} of models within each column ({', '.join(tests)}). p > 0.05 is "
            "not evidence that the models are equally good. Nothing was chosen by this table."
        ),
    ]


def error_agreement(results: RunResults) -> Section:
    """Whether the models err on the same images, which decides if combining them can help."""
    models = results.test_predictions
    return Section(
        "Agreement of errors",
        [
            Paragraph("All numbers are of test; nothing was chosen by them."),
            BulletList(list(_gains(results))),
            _pair_table(models),
            Paragraph(
                "Errors on the same images (correlation near 1) leave nothing for a combination to correct. "
                "Whether a difference is statistically significant: see the differences between models."
            ),
        ],
        "agreement",
    )


def _gains(results: RunResults) -> Iterator[str]:
    models = results.test_predictions
    members = {name: one for name, one in models.items() if name not in COMBINED}
    if len(members) > 1:
        bound = proportion(correct_by_any(members), len(next(iter(members.values()))))
        yield (
            f"At least one of {', '.join(members)} is right on {in_words(bound)} of the images: no choice "
            "among their predictions can be right more often (an oracle's bound)."
        )
    best = min(members, key=lambda name: _validation_loss(results, name), default="")
    for name in COMBINED:
        if best and name in models:
            for member in members:
                yield _against_member(name, member, compare_errors(models[name], models[member]))
    for name in members:
        if name != best:
            one = compare_errors(models[name], models[best])
            yield (
                f"{name} and {best}: {name} is right on {one.only_first} of the "
                f"{plural(one.only_first + one.neither, 'image')} on which {best} is wrong, and wrong on "
                f"{one.only_second} on which {best} is right."
            )


def _validation_loss(results: RunResults, name: str) -> float:
    valid = results.predictions[name]["valid"]
    return log_loss(valid.labels, valid.probabilities)


def _against_member(name: str, member: str, one: ErrorAgreement) -> str:
    net = one.only_first - one.only_second
    effect = f"a net {'gain' if net > 0 else 'loss'} of {abs(net)}" if net else "no net difference"
    return (
        f"{name} against {member}: corrects {one.only_first} of its errors and adds {one.only_second}, of "
        f"{one.n} images; {effect}."
    )


def _pair_table(models: Mapping[str, Predictions]) -> Table:
    rows: list[list[Cell]] = []
    for a, b in combinations(models, 2):
        one = compare_errors(models[a], models[b])
        counts = (one.both, one.only_first, one.only_second, one.neither)
        correlation = number(one.correlation)
        rows.append([f"{a}, {b}", proportion(one.same_prediction, one.n), *counts, correlation])
    header = [
        "models",
        "same prediction",
        "both right",
        "only first right",
        "only second right",
        "both wrong",
    ]
    return Table([*header, "correlation of errors"], rows, "Agreement of the models on test")
