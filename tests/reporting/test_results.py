import json
import re
from dataclasses import replace

import pytest

from tumorboard.evaluation.scores import evaluate
from tumorboard.evaluation.selective_prediction import fit_calibration
from tumorboard.reporting.results import metrics_json, results_md
from tumorboard.reporting.study import Finding

from .studies import COUNTS, study

NOTICE = "Research software, not a medical device, not for diagnosis."


def rows(text):
    """All rows of all tables of a Markdown page, by first cell."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [(row[0], row[1:]) for row in cells]


def test_the_json_says_its_version_and_that_it_is_no_diagnosis():
    content = json.loads(metrics_json(study()))
    assert content["format_version"] == 2
    assert content["notice"] == NOTICE
    assert content["class_names"] == ["adenocarcinoma", "normal", "squamous"]


def test_the_json_s_numbers_are_those_of_the_predictions_to_the_last_bit():
    one = study()
    content = json.loads(metrics_json(one))
    for kind in ("models", "baselines"):
        for name, by_split in getattr(one, kind).items():
            for split, predictions in by_split.items():
                assert content[kind][name]["splits"][split] == evaluate(predictions).to_dict()


def figures(content, path=()):
    """Every number of a JSON text with its way there; not those that say how sure another one is."""
    if isinstance(content, dict):
        for key, one in content.items():
            yield from figures(one, (*path, key))
    elif isinstance(content, list):
        for one in content:
            yield from figures(one, path)
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield path


BESIDE = {"n", "groups", "low", "high", "null_low", "null_high", "p", "p_holm", "p_value"}
SETTINGS = {"format_version", "seed", "calibration", "set_sizes", "coverage", "confidence"}
DESCRIPTION = {"balance", "average", "composite"}  # the study's own, of accuracies that have their intervals


def test_no_figure_of_the_json_is_without_its_n_and_its_interval():
    content = json.loads(metrics_json(calibrated_study()))
    ends = {path[-1] for path in figures(content) if not SETTINGS & set(path)}
    assert ends - BESIDE - DESCRIPTION == {"value", "difference"}
    for one in measures(content):
        assert {"n", "low", "high"} <= set(one) or {"n", "null_low", "null_high"} <= set(one)
        assert one["value"] is None or one.get("low", one.get("null_low")) is not None or one["note"]
        if one["value"] is not None and one.get("low") is not None:
            assert one["low"] <= one["value"] <= one["high"]


def measures(content):
    if isinstance(content, dict):
        if "value" in content:
            yield content
        for one in content.values():
            yield from measures(one)


def calibrated_study():
    one = study()
    return replace(one, calibrations={name: fit_calibration(s["valid"]) for name, s in one.models.items()})


def test_a_class_that_validation_lacks_is_null_and_not_nan():
    text = metrics_json(study())
    assert "NaN" not in text
    assert json.loads(text)["models"]["custom"]["splits"]["valid"]["recall"]["squamous"]["value"] is None


def test_equal_predictions_give_equal_json_however_long_the_run_took():
    assert metrics_json(study()) == metrics_json(study(seconds={"training": 1.0}, versions={}))


def test_the_study_s_scores_are_marked_as_containing_test_figures():
    content = json.loads(metrics_json(study()))
    assert content["models"]["custom"]["description_scores"]["contains_test_figures"] is True
    page = results_md(study())
    section = page.split("## Balance, average and composite")[1].split("##")[0]
    assert "It contains test figures" in section


def test_the_first_line_of_the_page_says_that_it_is_no_diagnosis():
    assert NOTICE in results_md(study()).splitlines()[0]


def test_the_page_has_the_study_s_table_with_every_model_and_baseline():
    one = study()
    found = dict(rows(results_md(one).split("## All figures")[0]))
    assert set(found) == {"model", "---", "pretrained", "custom", "majority class", "class frequencies"}
    scores = evaluate(one.models["custom"]["test"])
    assert found["custom"][4] == f"{scores.loss.value:.3f}"
    interval = f"({scores.accuracy.low:.3f} to {scores.accuracy.high:.3f})"
    assert found["custom"][5] == f"{scores.accuracy.value:.3f} {interval}"
    assert found["model"] == [
        f"{s} {m}" for s in ("train", "validation", "test") for m in ("loss", "accuracy")
    ]


def test_the_page_recommends_the_model_that_the_json_does_and_says_why():
    content, page = json.loads(metrics_json(study())), results_md(study())
    assert f"## Recommended: {content['recommendation']['model']}\n" in page
    assert content["recommendation"]["reason"] in page


def test_the_page_has_a_verdict_for_each_model():
    content, page = json.loads(metrics_json(study())), results_md(study())
    for name, model in content["models"].items():
        assert f"- **{name}**: {model['verdict']}" in page


def test_the_page_counts_the_images_of_each_class():
    found = dict(rows(results_md(study()).split("## How it was made")[1]))
    for split, title in (("train", "train"), ("valid", "validation"), ("test", "test")):
        assert found[title] == [*map(str, COUNTS[split]), str(sum(COUNTS[split]))]


def test_the_page_shows_recall_on_validation_and_test():
    found = rows(results_md(study()).split("## Recall")[1].split("## How")[0])
    assert [first for first, _ in found] == [
        "validation",
        "---",
        "pretrained",
        "custom",
        "test",
        "---",
        "pretrained",
        "custom",
    ]
    assert found[2][1][2] == "n/a, n = 0"


def test_the_page_says_how_to_repeat_the_run():
    page = results_md(study())
    assert "    tumorboard train DATA --out RUN --seed 3\n" in page
    for fact in ("Recipe: default", "Seed: 3", "Backend: tensorflow", "keras 3.15.1"):
        assert fact in page
    assert "| training pretrained | 61.2 |" in page


def test_what_is_not_known_of_the_run_is_left_out():
    page = results_md(study(versions={}, seconds={}))
    assert "Versions" not in page
    assert "| phase |" not in page


def test_one_seed_is_said_to_be_noisy():
    assert "**One run, seed 3:**" in results_md(study())


@pytest.mark.parametrize("grouped", [False, True])
def test_without_patients_independence_is_said_at_the_top_not_to_be_checked(grouped):
    top = results_md(study(grouped=grouped)).split("##")[0]
    assert ("Patient independence not checked" in top) is not grouped


def test_notes_stand_at_the_top():
    assert "Synthetic images." in results_md(study(notes=("Synthetic images.",))).split("##")[0]


def test_hostile_names_break_no_table_and_bring_no_markup():
    class_names = ("a|b", "<script>alert(1)</script>", "x\n\n# y")
    page = results_md(study(class_names))
    assert not re.search(r"(?<!\\)<", page)
    assert not re.search(r"^# y", page, re.MULTILINE)
    for block in re.findall(r"(?:^\| .*\n)+", page, re.MULTILINE):
        assert len({len(cells) for _, cells in rows(block)}) == 1


@pytest.mark.parametrize("split", ["test", "valid"])
def test_a_subset_is_scored_on_its_own_ids_alone(split):
    one = study()
    kept = {*(f"{split}/{number}.png" for number in (0, 3, 5)), "not/there.png"}
    one = replace(one, **{f"{split}_subsets": {"without twins": kept}})
    scored = json.loads(metrics_json(one))[f"{split}_subsets"]["without twins"]
    for name, by_split in {**one.models, **one.baselines}.items():
        part = by_split[split]
        rows = [row for row, sample in enumerate(part.ids) if sample in kept]
        right = sum(part.predicted[row] == part.labels[row] for row in rows)
        assert scored[name]["n"] == len(rows) == 3
        assert scored[name]["accuracy"]["value"] == pytest.approx(right / 3)
    cells = [cells for name, cells in rows_of(results_md(one), "without twins") if name == "custom"]
    assert cells[0][1].endswith("n = 3")


def rows_of(page, title):
    """The rows of the table whose header has the title."""
    table = next(part for part in page.split("\n\n") if title in part and part.startswith("|"))
    return rows(table)


def test_an_empty_test_subset_is_undefined_and_not_an_error():
    one = replace(study(), test_subsets={"nothing left": ()})
    scored = json.loads(metrics_json(one))["test_subsets"]["nothing left"]
    assert scored["custom"]["n"] == 0
    assert scored["custom"]["accuracy"]["value"] is None


def test_the_audit_s_errors_and_warnings_come_before_any_figure():
    found = (
        Finding("error", "TB401", "4 twins | of train", "Figures are too good."),
        Finding("warning", "TB501", "metadata tell the class", "It is not the patient."),
        Finding("note", "TB102", "1 misnamed", "Rename it."),
    )
    page = results_md(study(findings=found))
    head = page[: page.index("## Recommended")]
    assert "found 2 things" in head
    assert "- **error TB401:** 4 twins \\| of train. Figures are too good." in head
    assert head.index("TB401") < head.index("TB501")
    assert "TB102" not in page
    assert "- 1 notes" in head
    assert "The audit found" not in results_md(study())
