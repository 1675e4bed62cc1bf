"""`predict --by`: one row per patient beside one row per image."""

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data import dicoms
from tests.small_predictors import CLASSES, NAMES, calibrate, finished, pixels
from tumorboard import run_folder
from tumorboard.cli.main import main
from tumorboard.data.dicom import reader as dicom_reader
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


@pytest.mark.parametrize(
    ("calibrated", "prediction_set", "refer"),
    [
        ({"n": 8}, "", "no"),  # too few: the threshold of images, 0.2
        ({"n": 19, "quantile": 1.0}, " | ".join(CLASSES), "no"),
        ({"n": 20, "quantile": 0.0, "refer_below": 1.0}, "(none)", "yes"),
        ({"n": 20, "quantile": 0.0, "refer_below": None}, "(none)", ""),  # no threshold is good enough
    ],
)
def test_sets_and_referral_are_those_that_were_calibrated_per_patient(
    tmp_path, scans, calibrated, prediction_set, refer
):
    run = finished(tmp_path / "run", joint_graph=True)
    calibrate(run, "custom", refer_below=0.2)
    run.patients.write_text(json.dumps({"custom": {"method": "mean", "reason": "", **calibrated}}))
    done = predict_files(run.root, [scans / "anna"], tmp_path / "out.csv", by="folder")
    (row,) = rows(done.patients)
    assert (row["prediction_set"], row["refer"]) == (prediction_set, refer)


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


FILM = dicoms.frames(np.arange(5 * 64).reshape(5, 8, 8), center=160, width=320)


def test_of_volumes_there_is_a_row_for_each_slice_and_an_answer_for_each_file(run, tmp_path):
    folder = tmp_path / "new"
    folder.mkdir()
    for name in ("first", "second"):
        (folder / name).write_bytes(FILM)
    Image.fromarray(pixels(1, seed=2, size=40)[0]).save(folder / "x.png")
    done = predict_files(run.root, [folder], tmp_path / "out.csv", frames="all")
    assert (done.files, done.failed) == (11, 0)
    images, patients = rows(done.table), rows(done.patients)
    assert [row["path"] for row in images[:6]] == [
        *(f"{folder}/first#{number}" for number in (1, 2, 3, 4, 5)),
        f"{folder}/second#1",
    ]
    assert len({row["sha256"] for row in images}) == 2
    assert [(row["patient"], row["images"]) for row in patients] == [
        (f"{folder}/first", "5"),
        (f"{folder}/second", "5"),
        (f"{folder}/x.png", "1"),
    ]
    means = np.mean([[float(row[f"custom:{label}"]) for label in CLASSES] for row in images[:5]], axis=0)
    np.testing.assert_allclose([float(patients[0][f"custom:{label}"]) for label in CLASSES], means)
    alone = predict_files(run.root, [folder / "first#4"], tmp_path / "alone.csv")
    (slice_row,) = rows(alone.table)
    assert slice_row == images[3]


def test_volumes_of_one_patient_are_one_answer(run, tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).write_bytes(FILM)
    sources = [tmp_path / "first", tmp_path / "second"]
    done = predict_files(run.root, sources, tmp_path / "out.csv", by="folder", frames=2)
    assert [(row["patient"], row["images"]) for row in rows(done.patients)] == [(str(tmp_path), "4")]
    table = tmp_path / "list.csv"
    table.write_text("path,case\nfirst,7\nsecond,7\n")
    done = predict_files(run.root, [table], tmp_path / "listed.csv", by="case", frames=2)
    assert [(row["patient"], row["images"]) for row in rows(done.patients)] == [("7", "4")]
    (tmp_path / "first").write_bytes(dicoms.frames(np.ones((3, 8, 8)), patient="Doe 4711"))
    (tmp_path / "second").write_bytes(dicoms.frames(np.ones((2, 8, 8)), patient="Doe 4711"))
    done = predict_files(run.root, sources, tmp_path / "dicom.csv", by="dicom", frames="all")
    assert [row["images"] for row in rows(done.patients)] == ["5"]


def test_a_series_of_files_has_one_answer(run, tmp_path):
    folder = tmp_path / "export"
    folder.mkdir()
    for number, (series, height) in enumerate((("1.1", 3), ("1.1", 1), ("1.2", 1), ("1.1", 2), ("1.2", 2))):
        content = dicoms.image(
            SCAN * number, series=series, position=f"0\\0\\{height}", orientation="1\\0\\0\\0\\1\\0"
        )
        (folder / f"{number}.dcm").write_bytes(content)
    done = predict_files(run.root, [folder], tmp_path / "out.csv", frames="all")
    order = [str(folder / f"{number}.dcm") for number in (1, 3, 0, 2, 4)]
    assert [row["path"] for row in rows(done.table)] == order
    assert [(row["patient"], row["images"]) for row in rows(done.patients)] == [
        (order[0], "3"),
        (order[3], "2"),
    ]
    middle = predict_files(run.root, [folder], tmp_path / "middle.csv", frames="middle")
    assert [row["patient"] for row in rows(middle.patients)] == [order[0], order[3]]
    plain = predict_files(run.root, [folder], tmp_path / "plain.csv")
    assert [row["path"] for row in rows(plain.table)] == sorted(order)
    assert plain.patients is None


def test_an_image_named_twice_is_no_volume(run, scans, tmp_path):
    image = next(path for path in sorted(scans.rglob("*")) if path.is_file())
    assert predict_files(run.root, [image, image], tmp_path / "out.csv", frames="middle").patients is None


def test_slices_are_chosen_as_in_training_unless_it_is_said_otherwise(tmp_path):
    run = finished(tmp_path / "run")
    (tmp_path / "film").write_bytes(FILM)
    done = predict_files(run.root, [tmp_path / "film"], tmp_path / "refused.csv")
    assert (done.files, done.failed, done.patients) == (1, 1, None)
    assert "choose with --frames all" in rows(done.table)[0]["error"]
    for name in NAMES:
        spec = json.loads(run.model_spec(name).read_text())
        spec["image"]["frames"] = 2
        run.model_spec(name).write_text(json.dumps(spec))
    run_folder.write_checksums(run)
    done = predict_files(run.root, [tmp_path / "film"], tmp_path / "trained.csv")
    assert [row["path"][-2:] for row in rows(done.table)] == ["#2", "#4"]
    done = predict_files(run.root, [tmp_path / "film"], tmp_path / "middle.csv", frames="middle")
    assert [row["path"][-2:] for row in rows(done.table)] == ["#3"]
    assert rows(done.patients)[0]["images"] == "1"


def test_a_volume_with_a_fault_is_one_row_with_an_error(run, tmp_path):
    (tmp_path / "cut").write_bytes(FILM[:-5])
    done = predict_files(run.root, [tmp_path / "cut"], tmp_path / "out.csv", frames="all")
    (row,) = rows(done.table)
    assert "cut off after" in row["error"]
    (patient,) = rows(done.patients)
    assert (patient["patient"], patient["images"], patient["unreadable"]) == (str(tmp_path / "cut"), "0", "1")


def test_the_command_refuses_frames_that_make_no_sense(run, tmp_path, capsys):
    assert main(["predict", str(run.root), str(tmp_path), "--frames", "few"]) == 2
    assert "as --frames, found 'few'" in capsys.readouterr().err


def test_files_whose_names_only_look_like_slices_are_no_volumes(run, tmp_path):
    image = io.BytesIO()
    Image.fromarray(pixels(1, seed=2, size=40)[0]).save(image, "PNG")
    for name in (b"scan\xff#1", b"scan\xff#2", b"scan#1", b"scan#2"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(image.getvalue())
    done = predict_files(run.root, [tmp_path], tmp_path / "out.csv", frames="middle")
    assert (done.files, done.failed, done.patients) == (4, 0, None)


def test_the_headers_of_a_series_are_read_once(run, tmp_path, monkeypatch):
    asked, stacks = [], dicom_reader.stacks
    monkeypatch.setattr(dicom_reader, "stacks", lambda paths: asked.append(len(paths)) or stacks(paths))
    for number, place in enumerate(("0\\0\\1", "0\\0\\2", "0\\0\\3")):
        content = dicoms.image(SCAN, series="1.1", position=place, orientation="1\\0\\0\\0\\1\\0")
        (tmp_path / f"{number}.dcm").write_bytes(content)
    done = predict_files(run.root, [tmp_path], tmp_path / "out" / "out.csv", frames="all")
    assert [(row["patient"], row["images"]) for row in rows(done.patients)] == [(f"{tmp_path}/0.dcm", "3")]
    assert asked == [3]
