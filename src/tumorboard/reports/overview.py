"""The first section of a run's report: which model, how good, how certain, and what to be careful of."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tumorboard.errors import plural
from tumorboard.evaluation.overfitting import gap_interval
from tumorboard.evaluation.patients import PatientScores
from tumorboard.reports.document import (
    Block,
    BulletList,
    Cell,
    Figures,
    Paragraph,
    Section,
    Table,
    count_in_words,
    in_words,
    number,
    percent,
)
from tumorboard.reports.example_images import samples
from tumorboard.reports.performance import accuracy_chart, patients_in_words
from tumorboard.reports.run_results import MAJORITY_CLASS, AuditFinding, RunResults

_FEW = 100
_GROUPS_ACROSS_SPLITS = "TB407"
_INDEPENDENT = "No patient is in two splits."


def overview(results: RunResults) -> Section:
    """What a reader who reads nothing else must know."""
    accuracies = {"Test accuracy": results.test_scores.accuracy}
    for title, scores in results.subsets["test"].items():
        accuracies[title] = scores[results.recommended].accuracy
    headline = [
        Paragraph(f"{in_words(accuracy)}, {count_in_words(accuracy)}", f"{title}:")
        for title, accuracy in accuracies.items()
    ]
    patients = results.patients.get("test")
    if patients:
        accuracy = patients.scores[results.recommended].accuracy
        line = f"{in_words(accuracy)}, {count_in_words(accuracy, 'patient')}"
        place = 0 if patients.nearly_all else len(headline)
        headline.insert(place, Paragraph(line, "Test accuracy per patient:"))
    majority = results.baselines[MAJORITY_CLASS]["test"].accuracy
    headline.append(Paragraph(in_words(majority), "Majority class of train for every image:"))
    chosen_from = "It was chosen from train and validation alone; no test result was used."
    findings = [
        Paragraph(f"{finding.title}. {finding.consequence}", f"{finding.severity} {finding.code}:")
        for finding in results.findings
        if finding.severity != "note"
    ]
    all_findings = Paragraph("All findings are listed under Audit findings.")
    return Section(
        f"Recommended model: {results.recommended}",
        [
            BulletList(headline),
            *([_per_patient(results, patients)] if patients else []),
            Figures([accuracy_chart(results)]),
            samples(results),
            Section("Limitations", [BulletList(list(limitations(results)))], "limitations"),
            Paragraph(" ".join(_certainty(results)), "How certain:"),
            Paragraph(f"{results.recommendation.reason} {chosen_from}", "Why this model:"),
            Section(
                f"Audit of the images: {count_findings(results.findings)}",
                [BulletList(findings), all_findings],
            ),
        ],
        "overview",
    )


def _per_patient(results: RunResults, patients: PatientScores) -> Section:
    calibrated = replace(results.test_scores, ece=results.calibrated_test_scores.ece)
    both = patients.scores[results.recommended], calibrated
    rows: list[list[Cell]] = [
        [title, *(getattr(scores, key) for scores in both)]
        for title, key in (
            ("accuracy", "accuracy"),
            ("balanced accuracy", "balanced_accuracy"),
            ("AUROC", "auroc"),
            ("ECE (range by chance)", "ece"),
        )
    ]
    for name in results.class_names:
        rows.append([f"{name}: sensitivity", *(scores.recall[name] for scores in both)])
        rows.append([f"{name}: specificity", *(scores.specificity[name] for scores in both)])
    caption = f"{results.recommended} on test, in parentheses 95% CI"
    table = Table(["metric", "per patient", "per image"], rows, caption)
    return Section(
        "Per patient and per image", [table, Paragraph(patients_in_words(patients, [results.recommended]))]
    )


def audit_findings(results: RunResults) -> Section:
    """All findings of the audit, the most severe first."""
    rows: list[list[Cell]] = [
        [finding.code, finding.severity, finding.title, finding.consequence] for finding in results.findings
    ]
    block: Block = Paragraph("The audit found nothing.")
    if rows:
        block = Table(["code", "severity", "finding", "consequence"], rows, "Findings, the most severe first")
    return Section("Audit findings", [block], "audit", folded=True)


def _certainty(results: RunResults) -> Iterator[str]:
    (unit, scores), images = results.headline, results.test_scores.n
    calibration = results.calibration.get(results.recommended)
    if scores.accuracy.low is not None and scores.accuracy.high is not None:
        limits = f"{percent(scores.accuracy.low)} and {percent(scores.accuracy.high)}"
        yield f"With {plural(scores.n, f'test {unit}')}, the true accuracy may lie between {limits}."
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
            f"{images} images are left, with accuracy {in_words(calibration.selective_accuracy)}."
        )


def count_findings(findings: Sequence[AuditFinding]) -> str:
    """Return `2 errors, 1 warning, 0 notes`."""
    severities = [finding.severity for finding in findings]
    return ", ".join(plural(severities.count(kind), kind) for kind in ("error", "warning", "note"))


def limitations(results: RunResults) -> Iterator[str]:
    """Yield the limitations of the results, first the test results that contradict the recommendation."""
    yield from contradicted_by_test(results)
    (unit, scores), made = results.headline, results.provenance
    independence = patient_independence(results)
    if independence != _INDEPENDENT:
        yield independence
    yield from (
        f"Series of similar images lie in several splits. {finding.title}. {finding.consequence}"
        for finding in results.series_across_splits
    )
    if results.leaks:
        yield f"{results.leaks.sentence}."
    yield (
        f"This is one run, with seed {made.seed}. The intervals do not include the variation between seeds; "
        "another seed may change the order of the models."
    )
    yield (
        f"The test split was scored {plural(made.test_scorings, 'time')} in this run folder; each time "
        "makes its result a little less independent."
    )
    if scores.n < _FEW:
        yield f"Test has only {plural(scores.n, unit)}: look at the intervals, not at the third decimal."
    known = {name: recall for name, recall in scores.recall.items() if recall.value is not None}
    if known:
        worst = min(known, key=lambda name: known[name].value or 0.0)
        recall = known[worst]
        yield f"Weakest class on test: {worst}, recall {in_words(recall)}, {count_in_words(recall, unit)}."
    if results.missing_maps:
        yield f"Heat maps are missing: {results.missing_maps}."
    yield "No image from another hospital or scanner was tested: nothing here is about how it does elsewhere."


def patient_independence(results: RunResults) -> str:
    """Say whether a patient may be in two splits."""
    made, images = results.provenance, sum(map(len, results.reference.values()))
    divided = [finding for finding in results.findings if finding.code == _GROUPS_ACROSS_SPLITS]
    if divided:
        return f"Patients are in several splits: {divided[0].title}. {divided[0].consequence}"
    if not made.images_with_group and not made.groups_known:
        named = "names no patients" + ("; file names tell some" if results.series_across_splits else "")
        return (
            f"Patient independence was not checked: the data {named}. Slices of one patient may be in "
            "several splits; then results are too good and intervals too narrow."
        )
    evidence = "file names tell patients (TB409), which is evidence, not proof"
    if not made.groups_known:
        known = f"{made.images_with_group} of {images} images"
        source = f"; {evidence}" if made.groups_found else ""
        return f"Patient independence was checked only for {known}{source}. The others may be of any patient."
    return f"No patient is in two splits; {evidence}." if made.groups_found else _INDEPENDENT


def contradicted_by_test(results: RunResults) -> Iterator[str]:
    """Yield the test results that contradict the recommendation; they do not change it."""
    yield from _better_on_test(results)
    yield from _drop_from_validation(results)
    calibration, ece = results.calibration.get(results.recommended), results.calibrated_test_scores.ece
    if ece.value is not None and ece.null_high is not None and ece.value > ece.null_high:
        yield (
            f"Confidence on test differs from accuracy by {number(ece.value)} on average. That of a "
            f"calibrated model differs by up to {number(ece.null_high)}: do not read 0.9 as 9 in 10."
        )
    for unit, performance in (
        ("image", calibration),
        ("patient", results.patient_calibration.get(results.recommended)),
    ):
        coverage = performance.set_coverage.get("all") if performance else None
        wanted = 1 - performance.calibration.alpha if performance else 0.0
        if coverage and coverage.high is not None and coverage.high < wanted:
            yield (
                f"Prediction sets hold the true class of {percent(coverage.value or 0.0)} of the test "
                f"{unit}s instead of {percent(wanted)}. Their coverage on test is {in_words(coverage)}."
            )


def _better_on_test(results: RunResults) -> Iterator[str]:
    better: dict[str, str] = {}
    for comparison in results.comparisons["test"]:
        models = [comparison.first, comparison.second]
        if comparison.metric != "accuracy" or results.recommended not in models:
            continue
        if comparison.p_holm is None or comparison.p_holm >= 0.05:
            continue
        gain = comparison.difference or 0.0
        gain = -gain if comparison.first == results.recommended else gain
        models.remove(results.recommended)
        if gain > 0:
            better[models[0]] = f"by {number(gain)}, p = {comparison.p_holm:.2g} after Holm's correction"
    if better:
        yield (
            f"On test {' and '.join(better)} is significantly more accurate than {results.recommended}. "
            f"The differences: {'; '.join(f'{name} {by}' for name, by in better.items())}. Validation chose "
            "another model than test would have. The recommendation stays, because a model that is picked "
            "by its test result has no independent test result left."
        )


def _drop_from_validation(results: RunResults) -> Iterator[str]:
    valid, test = (results.scores[results.recommended][split].accuracy for split in ("valid", "test"))
    if valid.value is None or test.value is None:
        return
    low, high = gap_interval(valid, test)
    if low > 0:
        yield (
            f"Test accuracy is lower than validation accuracy by {100 * low:.0f} to {100 * high:.0f} "
            f"percentage points (95% CI). Validation accuracy was {in_words(valid)}; the difference is "
            "statistically significant: test images differ, or validation was used up by choosing."
        )
