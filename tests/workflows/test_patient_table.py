"""`predict --by`: one row per patient beside one row per image."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from tests.data import dicoms
from tests.small_predictors import CLASSES, NAMES, calibrate, finished, pixels
from tumorboard.cli.main import main
from tumorboard.errors import UsageError
from tumorboard.evaluation.patients import combine
from tumorboard.workflows.batch_predict import predict_files

SCAN = np.arange(64, dtype=np.uint16).reshape(8, 8)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = finished(tmp_path_factory.mktemp("predicting") / "run")
    calibrate(run, "custom")
    return run


@pytest.fixture
def scans(tmp_path):
    for number, picture in enumerate(pixels(5, seed=2, size=40)):
        path = tmp_path / "scans" / ("anna", "berta")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    (tmp_path / "scans" / "berta" / "bad.png").write_bytes(b"no image")
    return tmp_path / "scans"


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("method", ["mean", "log_odds"])
def test_images_of_a_folder_are_one_patient(run, scans, tmp_path, method):
    run.patients.write_text(json.dumps({name: {"method": method, "reason": ""} for name in NAMES}))
    done = predict_files(run.root, [scans], tmp_path / "out.csv", by="folder")
    images, patients = rows(done.table), rows(done.patients)
    assert [row["patient"] for row in patients] == [str(scans / "anna"), str(scans / "berta")]
    assert [(row["images"], row["unreadable"], row["method"]) for row in patients] == [
        ("3", "0", method),
        ("2", "1", method),
    ]
    for patient in patients:
        of_patient = [
            row for row in images if row["path"].startswith(patient["patient"]) and not row["error"]
        ]
        for name in NAMES:
            values = [[float(row[f"{name}:{label}"]) for label in CLASSES] for row in of_patient]
            combined = [float(patient[f"{name}:{label}"]) for label in CLASSES]
            np.testing.assert_allclose(combined, combine(values, method), atol=1e-12)
        assert patient["prediction"] in CLASSES
        assert patient["decided_by"] in [row["path"] for row in of_patient]
        assert patient["refer"] in ("yes", "no")
    run.patients.unlink()


def test_a_patient_of_one_image_has_its_answer(run, scans, tmp_path):
    done = predict_files(run.root, [scans / "anna" / "0.png"], tmp_path / "out.csv", by="folder")
    (image,), (patient,) = rows(done.table), rows(done.patients)
    for column in ("prediction", "refer"):
        assert patient[column] == image[column]
    assert float(patient["confidence"]) == pytest.approx(float(image["confidence"]))


def test_a_column_of_a_list_names_the_patient(run, scans, tmp_path):
    table = tmp_path / "list.csv"
    table.write_text("path;Case No\nscans/anna/0.png;17\nscans/berta/1.png;17\nscans/anna/2.png;\n")
    done = predict_files(run.root, [table], tmp_path / "out.csv", by="case no")
    assert [(row["patient"], row["images"]) for row in rows(done.patients)] == [
        ("17", "2"),
        (str(scans / "anna" / "2.png"), "1"),
    ]
    with pytest.raises(UsageError, match="one column 'ward'"):
        predict_files(run.root, [table], tmp_path / "out.csv", by="ward")
    with pytest.raises(UsageError, match="--by folder"):
        predict_files(run.root, [scans], tmp_path / "out.csv", by="ward")


def test_dicom_files_of_one_patient_id_are_one_patient_without_a_name(run, tmp_path):
    folder = tmp_path / "series"
    folder.mkdir()
    for number, patient in enumerate(("Jane^Doe 4711", "Jane^Doe 4711", "Joe 12")):
        (folder / f"{number}.dcm").write_bytes(dicoms.image(SCAN, patient=patient))
    done = predict_files(run.root, [folder], tmp_path / "out.csv", by="dicom")
    found = rows(done.patients)
    assert sorted(row["images"] for row in found) == ["1", "2"]
    assert "4711" not in done.patients.read_text()
    with pytest.raises(UsageError, match="--by folder"):
        predict_files(run.root, [run.metrics], tmp_path / "none.csv", by="dicom")


def test_the_command_shows_patients_and_names_the_table(run, scans, tmp_path, capsys):
    arguments = ["predict", str(run.root), str(scans / "anna"), "--by", "folder"]
    assert main([*arguments, "--out", str(tmp_path / "out.csv")]) == 0
    out = capsys.readouterr().out
    assert f"patient {scans / 'anna'}, n = 3: " in out
    assert f"Patients: {tmp_path / 'out-patients.csv'}" in out
    assert main([*arguments, "--out", str(tmp_path / "out.csv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["patients"] == str(tmp_path / "out-patients.csv")
