import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.small_predictors import CLASSES, NAMES, finished, pixels
from tumorboard import NOTICE, storage
from tumorboard.cli.main import main
from tumorboard.errors import DataError, StorageError, UsageError
from tumorboard.evaluation.patients import PatientRule
from tumorboard.explain.overlay import overlay
from tumorboard.progress import Console
from tumorboard.workflows.batch_predict import predict_files
from tumorboard.workflows.explain import explain
from tumorboard.workflows.predictor import load_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("explaining") / "run").root


@pytest.fixture(scope="module")
def predictor(run):
    return load_run(run)


@pytest.fixture(autouse=True)
def _opened_once(monkeypatch, predictor):
    monkeypatch.setattr("tumorboard.workflows.explain.load_run", lambda run, models, engine: predictor)


@pytest.fixture
def scan(tmp_path):
    Image.fromarray(pixels(1, seed=2)[0]).save(tmp_path / "slice.png")
    return tmp_path / "slice.png"


def rows(folder):
    with (folder / "maps.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_model_and_member_gets_its_picture(run, predictor, scan, tmp_path):
    done = explain(str(run), [str(scan)], str(tmp_path / "maps"))
    parts = [*NAMES, "ensemble_pretrained", "ensemble_custom"]
    assert sorted(path.name for path in done.folder.iterdir()) == sorted(
        ["maps.csv", *(f"1-slice-{part}.png" for part in parts)]
    )
    assert (done.overlays, done.failed) == (6, 0)
    assert set(done.correlations) == set(NAMES)
    assert all(value < 0.9 for value in done.correlations.values())
    prediction = predictor.predict(predictor.read(scan))
    for row in rows(done.folder):
        said = prediction.probabilities[row["model"]]
        assert row["class"] == CLASSES[said.argmax()]
        assert row["notice"] == NOTICE
        assert bool(row["probability"]) != bool(row["member"])
        if not row["member"]:
            assert float(row["probability"]) == said.max()
            image = predictor.read(scan)
            painted = overlay(image, predictor.heat_map(row["model"], image, int(said.argmax())))
            np.testing.assert_array_equal(np.asarray(Image.open(done.folder / row["overlay"])), painted)


def test_a_class_and_a_method_can_be_asked_for(run, predictor, scan, tmp_path):
    done = explain(run, [scan], tmp_path / "maps", target="c", method="occlusion")
    found = rows(done.folder)
    assert [(row["model"], row["class"]) for row in found] == [(name, "c") for name in NAMES]
    assert (
        float(found[0]["probability"])
        == predictor.predict(predictor.read(scan)).probabilities["pretrained"][2]
    )


def test_notes_about_files_are_printed(run, tmp_path, capsys):
    values = np.arange(1024).reshape(32, 32) + 32_000  # as Hounsfield units plus 32,768
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / "deep.png")
    explain(run, [tmp_path / "deep.png"], tmp_path / "maps", console=Console())
    assert "deep.png: loses most of its grey levels" in capsys.readouterr().err


def test_an_unknown_class_and_nothing_to_explain_are_named(run, scan, tmp_path):
    with pytest.raises(DataError, match=r"expected a class \(a, b, c\), found 'd'"):
        explain(run, [scan], tmp_path / "maps", target="d")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found no file"):
        explain(run, [tmp_path / "empty"], tmp_path / "maps")


def test_its_own_maps_are_not_explained(run, scan, capsys, monkeypatch):
    monkeypatch.chdir(scan.parent)
    command = ["explain", str(run), ".", "--out", ".", "--model", "custom"]
    assert main(command) == 0
    before = sorted(scan.parent.iterdir())
    assert main(command) == 0
    assert "(written by Tumorboard)" in capsys.readouterr().out
    assert sorted(scan.parent.iterdir()) == before
    assert main([*command, "--json"]) == 0
    [left_out] = json.loads(capsys.readouterr().out)["left_out"]
    assert (left_out["count"], left_out["names"][-1]) == (len(before) - 1, "maps.csv")


def test_maps_of_other_images_are_not_replaced(run, scan, tmp_path):
    explain(run, [scan], tmp_path / "maps", models=["custom"])
    other = tmp_path / "other" / scan.name
    other.parent.mkdir()
    other.write_bytes(scan.read_bytes())
    with pytest.raises(UsageError, match=r"found those of .*slice\.png"):
        explain(run, [other], tmp_path / "maps")
    assert {row["path"] for row in rows(tmp_path / "maps")} == {str(scan)}
    explain(run, [scan, other], tmp_path / "maps", models=["custom"])
    assert len({row["path"] for row in rows(tmp_path / "maps")}) == 2


@pytest.mark.parametrize("letter", ["x", "é", "漢", "\U0001f600"])
def test_a_long_name_stops_nothing(run, scan, tmp_path, letter):
    longest = tmp_path / f"{letter * (251 // len(letter.encode()))}.png"
    longest.write_bytes(scan.read_bytes())
    done = explain(run, [longest, scan], tmp_path / "maps")
    assert (done.overlays, done.failed) == (12, 0)
    assert {row["path"] for row in rows(done.folder)} == {str(longest), str(scan)}


def test_maps_that_are_finished_stay_in_the_table(run, scan, tmp_path, monkeypatch):
    writing = storage.write_bytes

    def full(path, content):
        if path.name.startswith("2-"):
            raise StorageError("no space left")
        writing(path, content)

    monkeypatch.setattr(storage, "write_bytes", full)
    with pytest.raises(StorageError):
        explain(run, [scan, scan], tmp_path / "maps")
    assert len(rows(tmp_path / "maps")) == 6


def test_the_command_says_where_the_maps_are_and_fails_for_bad_files(
    run, scan, tmp_path, capsys, monkeypatch
):
    (tmp_path / "bad.png").write_text("bad")
    command = [
        "explain",
        str(run),
        str(scan),
        str(tmp_path / "bad.png"),
        "--out",
        str(tmp_path / "maps"),
    ]
    assert main([*command, "--quiet"]) == 3
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == f"Maps: {tmp_path / 'maps'} (6 overlays, maps.csv)"
    assert "custom: with shuffled weights the map is different" in said.out
    assert said.err == "tumorboard: 1 file could not be read; maps.csv holds the reasons\n"
    assert "bad.png" in rows(tmp_path / "maps")[-1]["error"]
    assert main([*command, "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["overlays"] == 6
    assert Path(told["table"]).read_text().startswith("path,model,")


@pytest.fixture
def patients(tmp_path):
    for number, picture in enumerate(pixels(7, seed=4)):
        path = tmp_path / "patients" / ("anna", "berta")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    (tmp_path / "patients" / "berta" / "bad.png").write_bytes(b"no image")
    return tmp_path / "patients"


@pytest.mark.parametrize("method", ["mean", "log_odds"])
def test_the_images_that_decide_a_patients_prediction_are_explained(
    run, predictor, patients, tmp_path, method, monkeypatch
):
    ruled = replace(predictor, patient_rules={name: PatientRule(method, "") for name in NAMES})
    monkeypatch.setattr("tumorboard.workflows.explain.load_run", lambda run, models, engine: ruled)
    monkeypatch.setattr("tumorboard.workflows.batch_predict.load_run", lambda run, models, engine: ruled)
    done = explain(run, [patients], tmp_path / "maps", by="folder", top=2)
    assert done.failed == 1
    with done.contributions.open(encoding="utf-8", newline="") as file:
        parts = list(csv.DictReader(file))
    table = predict_files(run, [patients], tmp_path / "out.csv", by="folder").patients
    with table.open(encoding="utf-8", newline="") as file:
        joint = {row["patient"]: row for row in csv.DictReader(file)}
    for name, images in ((str(patients / "anna"), 4), (str(patients / "berta"), 3)):
        of_patient = [row for row in parts if row["patient"] == name and not row["error"]]
        assert [row["rank"] for row in of_patient] == [str(rank + 1) for rank in range(images)]
        assert of_patient[0]["path"] == joint[name]["decided_by"]
        assert {row["patient_prediction"] for row in of_patient} == {joint[name]["prediction"]}
        assert {row["patient_confidence"] for row in of_patient} == {joint[name]["confidence"]}
        shares = [float(row["contribution"]) for row in of_patient]
        assert shares == sorted(shares, reverse=True)
        if method == "mean":
            assert np.mean(shares) == pytest.approx(float(joint[name]["confidence"]))
        shown = [row for row in rows(done.folder) if row["path"].startswith(name) and not row["error"]]
        assert list(dict.fromkeys(row["path"] for row in shown)) == [row["path"] for row in of_patient[:2]]
        assert {row["class"] for row in shown} == {joint[name]["prediction"]}
    assert [row["path"] for row in parts if row["error"]] == [str(patients / "berta" / "bad.png")]
    assert (done.folder / "2-1-{}-custom.png".format(Path(joint[name]["decided_by"]).stem)).is_file()


def test_the_command_names_the_image_that_decided(run, patients, tmp_path, capsys):
    arguments = [
        "explain",
        str(run),
        str(patients / "anna"),
        "--by",
        "folder",
        "--model",
        "custom",
        "--top",
        "1",
    ]
    assert main([*arguments, "--out", str(tmp_path / "maps")]) == 0
    out = capsys.readouterr().out
    assert f"patient {patients / 'anna'}: " in out
    assert f", decided most by {patients / 'anna'}" in out
    assert "(6 overlays, maps.csv)" in out  # the fixture opens all models
    with pytest.raises(UsageError, match="--by"):
        explain(run, [patients], tmp_path / "maps", top=2)
