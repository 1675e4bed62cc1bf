"""The first section of a run's report: which model, how good, how certain, and what to be careful of."""

from collections.abc import Iterator

from tumorboard.evaluation.overfitting import gap_interval
from tumorboard.evaluation.significance import Comparison
from tumorboard.reports.document import (
    Block,
    BulletList,
    Cell,
    Paragraph,
    Section,
    Table,
    count_in_words,
    in_words,
    number,
    percent,
    plural,
)
from tumorboard.reports.run_results import MAJORITY_CLASS, SERIES, RunResults

_FEW_IMAGES = 100


def overview(results: RunResults) -> Section:
    """What a reader who reads nothing else must know."""
    chosen_from = "It was chosen from train and validation alone; no test result was used."
    return Section(
        f"Recommended model: {results.recommended}",
        [
            BulletList(list(_headline(results))),
            Paragraph(" ".join(_certainty(results)), "How certain:"),
            Paragraph(f"{results.recommendation.reason} {chosen_from}", "Why this model:"),
            _audit_summary(results),
            Section("Limitations", [BulletList(list(limitations(results)))], "limitations"),
        ],
        "overview",
    )


def audit_findings(results: RunResults) -> Section:
    """All findings of the audit, the most severe first."""
    rows: list[list[Cell]] = [
        [one.code, one.severity, one.title, one.consequence] for one in results.findings
    ]
    block: Block = Paragraph("The audit found nothing.")
    if rows:
        block = Table(["code", "severity", "finding", "consequence"], rows, "Findings, the most severe first")
    return Section("Audit findings", [block], "audit")


def _headline(results: RunResults) -> Iterator[Paragraph]:
    accuracy = results.test_scores.accuracy
    yield Paragraph(f"{in_words(accuracy)}, {count_in_words(accuracy)}", "Test accuracy:")
    for title, scores in results.subsets["test"].items():
        part = scores[results.recommended].accuracy
        yield Paragraph(f"{in_words(part)}, {count_in_words(part)}", f"{title}:")
    guess = results.baselines[MAJORITY_CLASS]["test"].accuracy
    yield Paragraph(in_words(guess), "Majority class of train for every image:")


def _certainty(results: RunResults) -> Iterator[str]:
    scores, calibration = results.test_scores, results.calibration.get(results.recommended)
    if scores.accuracy.low is not None and scores.accuracy.high is not None:
        limits = f"{percent(scores.accuracy.low)} and {percent(scores.accuracy.high)}"
        yield f"With {plural(scores.n, 'test image')}, the true accuracy may lie between {limits}."
    ece = results.calibrated_test_scores.ece
    if ece.value is not None and ece.null_high is not None:
        verdict = "within" if ece.value <= ece.null_high else "above"
        stated = "Confidence" if calibration is None else "Calibrated confidence"
        yield (
            f"{stated} differs from accuracy by {number(ece.value)} on average (expected calibration error), "
            f"{verdict} what chance gives a calibrated model (up to {number(ece.null_high)})."
        )
    if calibration and calibration.selective_accuracy is not None:
        yield (
            f"If images of low confidence are referred to a human, {calibration.selective_accuracy.n} of "
            f"{scores.n} images are left, with accuracy {in_words(calibration.selective_accuracy)}."
        )


def _audit_summary(results: RunResults) -> Section:
    counts = [
        plural(sum(one.severity == severity for one in results.findings), severity)
        for severity in ("error", "warning", "note")
    ]
    graver = [
        Paragraph(f"{one.title}. {one.consequence}", f"{one.severity} {one.code}:")
        for one in results.findings
        if one.severity != "note"
    ]
    everything = Paragraph("All findings are listed under Audit findings.")
    return Section(f"Audit of the images: {', '.join(counts)}", [BulletList(graver), everything])


def limitations(results: RunResults) -> Iterator[str]:
    """Yield what a reader must be careful of, first what test says against the recommendation."""
    yield from contradicted_by_test(results)
    scores, made = results.test_scores, results.provenance
    if not made.groups_known:
        yield (
            "Patient independence was not checked: the data names no patients. Slices of one patient may be "
            "in several splits; then results are too good and intervals too narrow."
        )
        yield from (f"{one.title}. {one.consequence}" for one in results.findings if one.code == SERIES)
    yield (
        f"This is one run, with seed {made.seed}. The intervals do not include the variation between seeds; "
        "another seed may change the order of the models."
    )
    yield (
        f"The test split was scored {plural(made.test_scorings, 'time')} in this run folder; each time "
        "makes its result a little less independent."
    )
    if scores.n < _FEW_IMAGES:
        yield f"Test has only {plural(scores.n, 'image')}: look at the intervals, not at the third decimal."
    known = {name: recall for name, recall in scores.recall.items() if recall.value is not None}
    if known:
        worst = min(known, key=lambda name: known[name].value or 0.0)
        found = f"{in_words(known[worst])}, {count_in_words(known[worst])}"
        yield f"Weakest class on test: {worst}, with recall {found}."
    yield "No image from another hospital or scanner was tested: nothing here is about how it does elsewhere."


def contradicted_by_test(results: RunResults) -> Iterator[str]:
    """Yield what test says against the recommendation, which changes nothing: test chooses nothing."""
    yield from _better_on_test(results)
    yield from _drop_from_validation(results)
    calibration, ece = results.calibration.get(results.recommended), results.calibrated_test_scores.ece
    if ece.value is not None and ece.null_high is not None and ece.value > ece.null_high:
        yield (
            f"Confidence on test differs from accuracy by {number(ece.value)} on average (calibrated "
            f"models: up to {number(ece.null_high)}): do not read 0.9 as 9 in 10."
        )
    coverage = calibration.set_coverage.get("all") if calibration else None
    if calibration and coverage and coverage.high is not None:
        wanted = 1 - calibration.calibration.alpha
        if coverage.high < wanted:
            yield (
                f"Prediction sets were fitted to hold the true class of {percent(wanted)} of the images; on "
                f"test the share is {in_words(coverage)}."
            )


def _better_on_test(results: RunResults) -> Iterator[str]:
    better = [
        f"{other} (by {number(gain)}, p = {one.p_holm:.2g} after Holm's correction)"
        for one in results.comparisons["test"]
        if one.metric == "accuracy" and one.p_holm is not None and one.p_holm < 0.05
        for other, gain in [_gain_over(results.recommended, one)]
        if gain > 0
    ]
    if better:
        yield (
            f"On test {' and '.join(better)} is more accurate than {results.recommended}, and the "
            "difference is statistically significant: validation chose another model than test would have. "
            "The recommendation stays, because a model that is picked by its test result has no independent "
            "test result left."
        )


def _gain_over(name: str, one: Comparison) -> tuple[str, float]:
    """The other model, and how much better it is than the named one; 0 in a pair without it."""
    difference = one.difference or 0.0
    if one.first == name:
        return one.second, -difference
    return one.first, difference if one.second == name else 0.0


def _drop_from_validation(results: RunResults) -> Iterator[str]:
    valid, test = (results.scores[results.recommended][split].accuracy for split in ("valid", "test"))
    if valid.value is None or test.value is None:
        return
    low, high = gap_interval(valid.value, valid.n, test.value, test.n)
    if low > 0:
        yield (
            f"Validation accuracy was {in_words(valid)}; test accuracy is lower by {100 * low:.0f} to "
            f"{100 * high:.0f} percentage points (95% CI), statistically significantly: its images differ, "
            "or validation was used up by choosing."
        )
