"""Evaluation of a run on other images, of any predictions, and of runs against each other."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.predictions_strategies import made
from tests.small_predictors import CLASSES, NAMES, finished
from tests.small_runs import drawing
from tumorboard.cli.main import main
from tumorboard.data.manifest import DataSource, Manifest, Sample, load, write_csv
from tumorboard.errors import DataError, RunFolderError, UsageError
from tumorboard.predictions import Predictions
from tumorboard.run_folder import RunFolder
from tumorboard.workflows.evaluate import (
    claim_folder,
    compare,
    evaluate_data,
    evaluate_predictions,
    groups_of,
    overlap_notes,
    read_metadata,
)


def pictures(root: Path, seed: int) -> Path:
    random = np.random.default_rng(seed)
    for name in CLASSES:
        for number in range(3):
            path = root / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(drawing("bar", random)).save(path)
    return root


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A finished run whose test part is known."""
    folder = finished(tmp_path / "run")
    for split, seed in (("train", 1), ("valid", 2), ("test", 3)):
        pictures(tmp_path / "data" / split, seed)
    folder.manifest.write_text(write_csv(load(tmp_path / "data").manifest))
    return folder


def test_other_images_are_scored_by_every_model_into_a_folder_of_their_own(
    run: RunFolder, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()}
    out = evaluate_data(run.root, pictures(tmp_path / "elsewhere", 9))
    assert out == run.root / "evaluations" / "elsewhere"
    content = json.loads((out / "metrics.json").read_text())
    assert list(content["models"]) == list(NAMES)
    assert {one["scores"]["n"] for one in content["models"].values()} == {9}
    assert content["notes"] == []
    page = (out / "results.md").read_text()
    assert "Research software, not a medical device" in page
    assert page.count(": each class against the others") == 4
    assert (out / "report.html").is_file()
    assert not run.test_evaluations.exists()
    assert {path: path.read_bytes() for path in before} == before


def test_results_on_other_data_are_never_overwritten(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    longest = "x" * 255
    places = ["hospital.2020", "hospital.2021", "siteA/test", "siteB/test", "v1/siteA/test", longest]
    for place in places:
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "hospital.2020.csv").touch()
    data = [*places, "hospital.2020.csv"]
    claimed = [claim_folder(run, tmp_path / place) for place in data]
    assert [folder.name for folder in claimed[:4]] == ["hospital.2020", "hospital.2021", "test", "siteB_test"]
    assert len(set(claimed)) == len(data)
    assert [claim_folder(run, tmp_path / place) for place in reversed(data)] == claimed[::-1]


def test_the_folder_of_an_unknown_evaluation_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run/evaluations/test").mkdir(parents=True)
    assert claim_folder(RunFolder(tmp_path / "run"), tmp_path / "site/test").name == "site_test"


def test_images_that_the_run_knows_are_told_and_another_look_at_test_is_counted(
    run: RunFolder, tmp_path: Path
) -> None:
    mixed = pictures(tmp_path / "mixed", 9)
    shutil.copy(tmp_path / "data/test/a/0.png", mixed / "a/known.png")
    shutil.copy(tmp_path / "data/train/b/1.png", mixed / "b/known.png")
    out = evaluate_data(run.root, mixed)
    notes = json.loads((out / "metrics.json").read_text())["notes"]
    assert notes == [
        "1 of 11 images are in the run's train split: models were fitted on them.",
        "1 of 11 images are in the run's test split: the run has scored them before.",
    ]
    assert [look["images"] for look in json.loads(run.test_evaluations.read_text())] == [1]


def test_of_data_with_parts_test_is_scored(run: RunFolder, tmp_path: Path) -> None:
    whole = load(tmp_path / "data").manifest
    assert overlap_notes(whole.select("valid"), whole) == (
        "9 of 9 images are in the run's valid split: models were chosen on them.",
    )
    out = evaluate_data(run.root, tmp_path / "data")
    assert "9 images" in (out / "results.md").read_text()


def test_another_slice_of_a_volume_of_train_is_known(run: RunFolder, tmp_path: Path) -> None:
    whole = load(tmp_path / "data").manifest
    first = whole.samples[0]
    known = replace(whole, samples=(replace(first, split="train", sha256="ab#1"),))
    other = replace(whole, samples=(replace(first, sha256="ab#2"), replace(first, sha256="cd#1")))
    (note,) = overlap_notes(other, known)
    assert note.startswith("1 of 2 images are in the run's train split, or slices of volumes there: ")


def test_patients_of_metadata_count_unless_the_data_names_patients(tmp_path: Path) -> None:
    samples = [
        Sample(f"x.nii#{number}", tmp_path / f"x.nii#{number}", "", "a", "x.nii", f"ab#{number}")
        for number in (1, 2)
    ] + [Sample("y.png", tmp_path / "y.png", "", "b", "", "cd")]
    volumes, named = Manifest.of(samples), {"x.nii#1": "p1", "x.nii#2": "p1", "y.png": ""}
    assert groups_of(volumes, named) == {"x.nii#1": "p1", "x.nii#2": "p1"}
    assert groups_of(volumes, {}) == {"x.nii#1": "x.nii", "x.nii#2": "x.nii"}
    known = Manifest.of([*samples[:2], replace(samples[2], group="p9")])
    assert groups_of(known, named) == known.groups


def test_files_that_are_left_out_are_notes(run: RunFolder, tmp_path: Path) -> None:
    data = pictures(tmp_path / "elsewhere", 9)
    (data / "a" / ".DS_Store").touch()
    (data / "a" / "bad.png").write_bytes(b"x")
    out = evaluate_data(run.root, DataSource(data, skip_bad=True))
    notes = json.loads((out / "metrics.json").read_text())["notes"]
    assert [note.partition(":")[0] for note in notes] == ["Left out"] * 2
    assert "bad.png" in notes[0]
    assert notes[1].endswith(".DS_Store (left out by name)")


def test_unknown_classes_are_refused_and_named(run: RunFolder, tmp_path: Path) -> None:
    strange = pictures(tmp_path / "strange", 4)
    (strange / "c").rename(strange / "zebra")
    with pytest.raises(DataError, match=r"'zebra'.*--class-map"):
        evaluate_data(run.root, strange)


def test_anybodys_predictions_are_judged_and_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = np.tile([0, 1, 2], 20)
    files = []
    for name, skill in (("mine", 0.9), ("theirs", 0.5)):
        one = made(np.random.default_rng(3).random(60) < skill, labels)
        files.append(tmp_path / f"{name}.csv")
        files[-1].write_text(one.to_csv())
    table = tmp_path / "patients.csv"
    table.write_text(
        "id,site,group\n" + "".join(f"s{i},{'n' if i < 30 else 's'},p{i // 3}\n" for i in range(60))
    )
    assert main(["evaluate", "--predictions", *map(str, files), "--metadata", str(table), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert set(content["models"]) == {"mine", "theirs"}
    assert content["models"]["mine"]["scores"]["groups"] == 20
    assert (content["patients"]["patients"], content["patients"]["images"]) == (20, 60)
    assert [part["value"] for part in content["models"]["mine"]["subgroups"]] == ["n", "s"]
    assert content["comparisons"][0]["p"] < 0.05
    shown = ["--metadata", str(table), "--out", str(tmp_path / "out")]
    assert main(["evaluate", "--predictions", *map(str, files), *shown]) == 0
    printed = capsys.readouterr().out
    assert "  - mine - theirs: +" in printed
    assert printed.endswith(f"Results: {tmp_path / 'out'}\n")
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == content
    assert main(["evaluate", "--predictions", *map(str, files), *shown, "--json"]) == 0
    written = {"results": str(tmp_path / "out"), "report": str(tmp_path / "out/report.html")}
    assert json.loads(capsys.readouterr().out) == {**written, **content}
    page = (tmp_path / "out/results.md").read_text()
    assert "## Per patient" in page
    assert "## Differences between models" in page
    assert "| site = n |" in page


def test_files_that_do_not_fit_together_are_named(tmp_path: Path) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    first.write_text(made([True, False], [0, 1]).to_csv())
    assert list(evaluate_predictions([str(first)]).models) == ["first"]
    second.write_text(made([True], [0]).to_csv())
    with pytest.raises(DataError, match="first and second"):
        evaluate_predictions([first, second])
    with pytest.raises(DataError, match=r"none\.csv"):
        evaluate_predictions([tmp_path / "none.csv"])
    with pytest.raises(UsageError, match="one file twice"):
        evaluate_predictions([first, tmp_path / "." / "first.csv"])


def test_metadata_of_a_spreadsheet_is_joined_by_the_paths_that_windows_writes(tmp_path: Path) -> None:
    text = "sep=;\r\nFile name;Größe;Patient ID;\r\nt\\a.png; 1,5 ;p1;\r\nt/b.png;;p2;\r\nother.png;9;p3;\r\n"
    (tmp_path / "table.csv").write_bytes(text.encode("cp1252"))
    assert read_metadata(tmp_path / "table.csv", ["t/a.png", "t/b.png", "t/c.png"]) == {
        "Größe": {"t/a.png": "1,5", "t/b.png": ""},
        "group": {"t/a.png": "p1", "t/b.png": "p2"},
    }


def test_metadata_that_cannot_be_read_stops_before_any_image_is_predicted(
    run: RunFolder, tmp_path: Path
) -> None:
    (tmp_path / "table.csv").write_text("id,site\nother.png,n\n")
    with pytest.raises(DataError, match=r"such as 'a/0\.png', found none, but 'other\.png'"):
        evaluate_data(run.root, pictures(tmp_path / "elsewhere", 9), metadata=tmp_path / "table.csv")
    assert not (run.root / "evaluations").exists()


@pytest.mark.parametrize(
    ("text", "what"), [("name,site\nx,y\n", "the column id"), ("id,a\nx,1\nx,2\n", "'x' again in line 3")]
)
def test_metadata_without_ids_or_with_one_twice_are_refused(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(DataError, match=what):
        read_metadata(tmp_path / "table.csv", ["x"])


def test_missing_values_of_metadata_are_no_subgroup(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("id,site\nx,nan\ny,NA\nz,\nw,n\n")
    assert read_metadata(tmp_path / "table.csv", ["x", "y", "z", "w"]) == {
        "site": {"x": "", "y": "", "z": "", "w": "n"}
    }


def test_a_run_or_predictions_must_be_given_and_not_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate"]) == 2
    assert main(["evaluate", "run", "--predictions", "a.csv"]) == 2
    assert "either RUN" in capsys.readouterr().err
    for unread in (["--metadata", "m.csv"], ["--merge", "x=y,z"], ["--skip-bad"]):
        assert main(["evaluate", "run", *unread]) == 2
        assert unread[0] in capsys.readouterr().err
    assert main(["evaluate", "--predictions", "a.csv", "--merge", "x=y,z"]) == 2


def with_predictions(root: Path, model: str, skill: float) -> Path:
    run = RunFolder(root)
    (root / "predictions").mkdir(parents=True)
    one = made(np.random.default_rng(1).random(60) < skill, np.tile([0, 1, 2], 20))
    run.predictions(model, "test").write_text(one.to_csv())
    run.metrics.write_text(json.dumps({"recommendation": {"model": model}}))
    run.manifest.write_text("id,path,split,label,group,sha256\n")
    return root


def test_runs_are_compared_by_their_recommended_models_with_mean_and_spread(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [with_predictions(tmp_path / name, "custom", skill) for name, skill in (("x", 0.9), ("y", 0.6))]
    assert main(["compare", *map(str, runs)]) == 0
    page = capsys.readouterr().out
    assert "x: custom - y: custom" in page
    assert ", SD 0." in page
    assert compare(runs).comparisons[0].n == 60


def test_the_same_files_are_matched_when_another_run_knows_them_by_other_paths(tmp_path: Path) -> None:
    runs = [with_predictions(tmp_path / name, "custom", skill) for name, skill in (("x", 0.9), ("y", 0.6))]
    for root, prefix in zip(runs, ("", "../"), strict=True):
        run = RunFolder(root)
        path = run.predictions("custom", "test")
        said = Predictions.from_csv(path.read_text(), str(path))
        ids = [f"{prefix}{one}" for one in said.ids]
        path.write_text(replace(said, ids=tuple(ids)).to_csv())
        # As on real data: a file that is there twice has one hash.
        rows = [
            f"{one},/{one},test,{said.class_names[label]},,{number // 2}"
            for number, (one, label) in enumerate(zip(ids, said.labels, strict=True))
        ]
        run.manifest.write_text("\n".join(["id,path,split,label,group,sha256", *rows]) + "\n")
    assert compare(runs).comparisons[0].n == 60


def test_a_comparison_combines_the_images_of_a_patient_as_each_run_chose(tmp_path: Path) -> None:
    runs = [with_predictions(tmp_path / name, "custom", 0.9) for name in ("x", "y")]
    for root in runs:
        run = RunFolder(root)
        ids = Predictions.from_csv(run.predictions("custom", "test").read_text(), "").ids
        rows = [f"{image},/{image},test,a,p{number // 3},{number}" for number, image in enumerate(ids)]
        run.manifest.write_text("\n".join(["id,path,split,label,group,sha256", *rows]) + "\n")
    RunFolder(runs[0]).patients.write_text('{"custom": {"method": "log_odds", "reason": "chosen"}}')
    patients = compare(runs).patients
    assert patients is not None
    assert patients.patients == 20
    assert {name: rule.method for name, rule in patients.rules.items()} == {
        "x: custom": "log_odds",
        "y: custom": "mean",  # of a run without patients.json
    }


def test_one_run_or_an_unfinished_one_cannot_be_compared(tmp_path: Path) -> None:
    run = with_predictions(tmp_path / "x", "custom", 0.5)
    with pytest.raises(UsageError):
        compare([run, run])
    with pytest.raises(RunFolderError, match="finished run"):
        compare([run, tmp_path / "nothing"])
    with pytest.raises(RunFolderError, match="finished run"):
        compare([tmp_path / "nothing", run])
