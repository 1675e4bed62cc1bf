"""What the report of a run says, in Markdown, which is the same text as in HTML."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.reports.runs import CLASS_NAMES, COUNTS, all_predictions, run_results
from tumorboard import NOTICE
from tumorboard.evaluation.intervals import Estimate
from tumorboard.evaluation.scores import score
from tumorboard.reports import markdown, terminal
from tumorboard.reports.document import cell_text
from tumorboard.reports.performance import _drawn_classes
from tumorboard.reports.run_report import run_report, run_summary
from tumorboard.reports.run_results import AuditFinding


def page(results=None, **changes):
    return markdown.render(run_report(results or run_results(**changes)))


def rows(text):
    """All rows of all tables of a Markdown page, by first cell."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [(row[0], row[1:]) for row in cells]


def section(text, title):
    return re.split(r"^## ", text.split(f"\n## {title}")[1], maxsplit=1, flags=re.MULTILINE)[0]


def table(text, caption):
    """The rows of the table with this caption."""
    return rows(text.split(f"{caption}:\n\n")[1].split("\n\n")[0])


def test_the_summary_fits_a_screen():
    findings = [AuditFinding("error", f"TB40{i}", f"{'long title ' * 30}(1 of 2)", "So.") for i in range(9)]
    names = ("pretrained", "custom", "ensemble", "chained")
    for class_names in (("adenocarcinoma", "normal", "squamous"), tuple(c * 90 for c in "abc")):
        results = run_results(class_names, names, findings=findings, synthetic=True, calibrated=True)
        lines = terminal.render(run_summary(results)).splitlines()
        assert len(lines) <= 16  # and two paths
        assert max(map(len, lines)) <= 80
        assert [name for name in names if sum(line.startswith(f"  {name} ") for line in lines) != 1] == []
        assert lines[2].startswith("Recommended model: ")
        assert "95% CI" in lines[2]


def test_the_summary_says_why_heat_maps_are_missing():
    results = replace(run_results(), missing_maps="the models are gone")
    assert "Heat maps are missing: the models are gone.\n" in terminal.render(run_summary(results))
    assert "Heat maps" not in terminal.render(run_summary(run_results()))


def test_the_first_line_says_that_it_is_no_diagnosis():
    assert NOTICE in page().splitlines()[0]


def test_loss_and_accuracy_of_every_model_and_baseline():
    found = dict(table(page(), "Log loss and accuracy"))
    assert set(found) == {"model", "---", "pretrained", "custom", "majority class", "class frequencies"}
    scores = score(all_predictions()["custom"]["test"])
    assert found["custom"][4] == markdown.escaped(cell_text(scores.loss, with_n=False))
    interval = f"({scores.accuracy.low:.3f}-{scores.accuracy.high:.3f})"
    assert found["custom"][5] == f"{scores.accuracy.value:.3f} {interval}"
    n = {split: sum(COUNTS[split]) for split in COUNTS}
    assert found["model"] == [
        f"{title} {metric} (n = {n[split]})"
        for split, title in (("train", "train"), ("valid", "validation"), ("test", "test"))
        for metric in ("log loss", "accuracy")
    ]


def test_every_accuracy_and_recall_has_its_interval():
    text = page()
    for by_split in run_results().scores.values():
        for share in (by_split["test"].accuracy, *by_split["test"].recall.values()):
            assert share.low <= share.value <= share.high
            assert f"{share.value:.3f} ({share.low:.3f}-{share.high:.3f})" in text


def test_the_recommended_model_and_why():
    results = run_results()
    text = page(results)
    assert f"## Recommended model: {results.recommended}\n" in text
    assert results.recommendation.reason in text


def test_a_verdict_for_each_model():
    results = run_results()
    text = page(results)
    for name, verdict in results.fit_verdicts.items():
        assert f"- **{name}:** {verdict}" in text


def test_the_images_of_each_class_are_counted():
    found = dict(table(page(), "Images per split and class"))
    assert found["class"] == ["train", "validation", "test"]
    for label, name in enumerate(CLASS_NAMES):
        assert found[name] == [str(COUNTS[split][label]) for split in ("train", "valid", "test")]
    assert found["all"] == [str(sum(COUNTS[split])) for split in ("train", "valid", "test")]


def test_recall_on_validation_and_test():
    for title, split in (("validation", "valid"), ("test", "test")):
        found = dict(table(page(), f"Recall of each class on {title}"))
        assert found.pop("class") == ["pretrained", "custom"]
        named = [f"{name} (n = {n})" for name, n in zip(CLASS_NAMES, COUNTS[split], strict=True)]
        assert list(found)[1:] == named
    assert dict(table(page(), "Recall of each class on validation"))["squamous (n = 0)"] == ["n/a", "n/a"]


def test_of_many_classes_the_curves_of_the_worst_are_drawn():
    few, many = (
        SimpleNamespace(class_auroc={f"c{i}": Estimate(0.5 + (7 * i % 20) / 40, 9, 0, 1) for i in range(n)})
        for n in (12, 20)
    )
    assert len(_drawn_classes(few)) == 12
    assert _drawn_classes(many) == ["c0", "c3", "c6", "c9", "c12", "c15"]


def test_how_to_repeat_the_run():
    text = page()
    assert "    tumorboard train DATA --out RUN --seed 3\n" in text
    for fact in ("Recipe: default", "Seed: 3", "Backend: tensorflow", "keras 3.15.1"):
        assert fact in text
    assert "| training pretrained | 61.2 |" in text


def test_what_is_not_known_about_the_run_is_left_out():
    results = run_results(seconds={}, models=("custom: 2 epochs",))
    results.provenance.environment.pop("keras")
    assert "Versions" not in page(results)
    assert "| phase |" not in page(results)
    assert "custom: 2 epochs" in page(results)


def test_one_seed_is_said_to_be_noisy():
    assert "This is one run, with seed 3." in page().split("## Performance")[0]


@pytest.mark.parametrize("known", [False, True])
def test_without_patients_independence_is_said_at_the_top_not_to_be_checked(known):
    top = page(groups_known=known).split("## Performance")[0]
    assert ("Patient independence was not checked" in top) is not known


def test_how_often_test_was_scored_stands_at_the_top():
    top = page(test_scorings=2).split("## Performance")[0]
    assert "The test split was scored 2 times in this run folder" in top
    assert "scored 1 time in" in page()


def test_hostile_names_break_no_table_and_bring_no_markup():
    text = page(class_names=("a|b", "<script>alert(1)</script>", "x\n\n# y"))
    assert not re.search(r"(?<!\\)<", text)
    assert not re.search(r"^# y", text, re.MULTILINE)
    for block in re.findall(r"(?:^\| .*\n)+", text, re.MULTILINE):
        assert len({len(cells) for _, cells in rows(block)}) == 1


def test_a_subset_stands_beside_all_images():
    kept = {f"test/{number}.png" for number in (0, 3, 5)}
    text = page(subsets={"test": {"without near duplicates": kept}})
    found = dict(table(text, "Test accuracy on all images, and without images that make it easy"))
    assert found["model"] == ["all images (n = 21)", "without near duplicates (n = 3)"]
    assert "**without near duplicates:**" in text.split("## Performance")[0]


def test_the_description_scores_are_said_to_contain_test_results():
    part = page().split("### Balance, average and composite")[1].split("##")[0]
    assert "It contains test accuracies" in part


FINDINGS = (
    AuditFinding("error", "TB401", "4 near duplicates | of train", "Results are too good."),
    AuditFinding("warning", "TB501", "metadata predict the class", "It is not the patient."),
    AuditFinding("note", "TB102", "1 misnamed", "Rename it."),
)


def test_the_audit_s_errors_and_warnings_stand_at_the_top():
    text = page(findings=FINDINGS)
    head = text[: text.index("## Performance")]
    assert "1 error, 1 warning, 1 note" in head
    assert "- **error TB401:** 4 near duplicates \\| of train. Results are too good." in head
    assert head.index("TB401") < head.index("TB501")
    assert "TB102" not in head
    assert "TB102" in section(text, "Audit findings")
    assert "The audit found nothing." in section(page(), "Audit findings")


def test_series_that_file_names_tell_are_a_limitation():
    series = AuditFinding("warning", "TB409", "By the number, 21 series", "A model may know them.")
    limitations = page(findings=[series]).split("### Limitations")[1].split("## Performance")[0]
    assert "By the number, 21 series. A model may know them." in limitations


def test_every_pair_of_models_is_compared_with_its_corrected_p():
    results = run_results()
    text = section(page(results), "Differences between models")
    compared = ("accuracy", "balanced_accuracy", "auroc", "loss")
    pairs = [pair for pair in results.comparisons["test"] if pair.metric in compared]
    assert len(pairs) == 4
    for pair in pairs:
        assert f"{pair.first} - {pair.second}" in text
        assert f"{pair.difference:+.3f} ({pair.low:+.3f} to {pair.high:+.3f}), p = {pair.p_holm:.2g}" in text


def test_every_metric_of_test_is_shown():
    results = run_results()
    text = page(results)
    for scores in results.scores.values():
        one = scores["test"]
        for metric in (one.loss, one.mcc, one.macro_f1, one.auroc, one.auprc, one.brier, one.ece):
            assert markdown.escaped(cell_text(metric, with_n=False)) in text
    for share in results.test_scores.precision.values():
        assert cell_text(share) in text


def test_equal_results_give_equal_text():
    assert page() == page()


def test_a_loss_of_smoothed_labels_is_called_so_on_its_chart():
    chart = run_report(run_results(loss_titles={"custom": "loss, labels smoothed by 0.1"})).charts[
        "learning-loss-custom"
    ]
    assert chart.description.startswith("custom: loss: loss, labels smoothed by 0.1 over epoch")
    assert run_report(run_results()).charts["learning-loss-custom"].y_label == "loss"
