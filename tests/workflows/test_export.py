"""Exports of a run's models, and predictions by other runtimes."""

import csv
import json
from importlib.util import find_spec

import keras
import numpy as np
import pytest
from PIL import Image

from tests.small_predictors import CLASSES, NAMES, calibrate, finished, pixels
from tumorboard import NOTICE, storage
from tumorboard.cli.main import main
from tumorboard.data.manifest import RUN_COLUMNS
from tumorboard.errors import UsageError
from tumorboard.run_folder import RunFolder
from tumorboard.workflows import export as module
from tumorboard.workflows.export import comparison_images, export, on_engine
from tumorboard.workflows.predictor import load_run

NEEDED = {"onnx": ("onnx", "onnxruntime", "tf2onnx"), "openvino": ("openvino",)}


def need(engine):
    missing = [name for name in NEEDED[engine] if find_spec(name) is None]
    if missing:
        pytest.skip(f"the engine {engine} needs {missing[0]}")


def with_images(run, folder, splits=("train", "valid", "test")):
    """Write a manifest of one image per split."""
    lines = [",".join(RUN_COLUMNS)]
    for number, split in enumerate(splits):
        path = folder / f"{split}.png"
        Image.fromarray(pixels(1, seed=number)[0]).save(path)
        lines.append(f"{split}.png,{path},{split},{CLASSES[0]},,{storage.sha256(path)}")
    storage.write_text(run.manifest, "\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exporting")
    run = finished(folder / "run")
    with_images(run, folder)
    calibrate(run, "custom")
    return run


@pytest.fixture(scope="module")
def predictor(run):
    return load_run(run.root, ("custom",))


def test_it_compares_on_images_of_train_and_validation(run):
    need("onnx")
    done = export(run.root, "custom", "onnx")
    assert done.path == run.export("custom", "onnx", ".onnx")
    assert (done.check.images, done.check.real) == (2, True)
    assert max(done.check.differences.values()) < 1e-5


def test_without_images_it_compares_on_random_ones_and_says_so(tmp_path, monkeypatch, capsys):
    need("onnx")
    run = finished(tmp_path / "run")
    monkeypatch.setattr(module, "IMAGES", 3)
    out = tmp_path / "new" / "a.onnx"
    assert main(["export", str(run.root), "--model", "custom", "--format", "onnx", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "; on 3 random images, because the images of the run are missing" in text
    assert "Keras: probabilities " in text
    assert ", embedding " in text
    assert NOTICE in text
    assert text.splitlines()[-1] == f"Export: {out}"
    facts = json.loads((tmp_path / "new" / "a.onnx.json").read_text())
    assert facts["compared"]["real"] is False
    assert facts["model_sha256"] == storage.sha256(run.model("custom"))


def test_an_unknown_model_is_one_line(run, capsys):
    assert main(["export", str(run.root), "--model", "other", "--format", "onnx"]) == 2
    assert "found 'other'" in capsys.readouterr().err


def test_json(run, capsys):
    need("onnx")
    assert main(["export", str(run.root), "--model", "custom", "--format", "onnx", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["export"] == str(run.export("custom", "onnx", ".onnx"))
    assert told["record"] == str(run.export("custom", "onnx", ".onnx.json"))
    assert told["real"] is True


def test_a_damaged_manifest_is_as_none(predictor, tmp_path):
    run = RunFolder(tmp_path)
    storage.write_text(run.manifest, "no,manifest\n")
    images, real = comparison_images(run, predictor)
    assert images.shape == (module.IMAGES, 32, 32, 3)
    assert not real


def test_images_of_test_are_not_opened(run, predictor, monkeypatch):
    opened, read = [], type(predictor).read
    monkeypatch.setattr(
        type(predictor), "read", lambda self, path: opened.append(path.stem) or read(self, path)
    )
    images, real = comparison_images(run, predictor)
    assert (len(images), real, sorted(opened)) == (2, True, ["train", "valid"])


@pytest.mark.parametrize("engine", NEEDED)
def test_an_engine_predicts_as_keras_does_and_is_exported_once(run, engine, monkeypatch):
    need(engine)
    plain = load_run(run.root, ("custom", "ensemble"))
    predictor = on_engine(plain, run.root, engine)
    for image in [*pixels(3, seed=4), np.full((32, 32, 3), 255, np.uint8)]:
        expected, found = plain.predict(image), predictor.predict(image)
        for name in plain.names:
            np.testing.assert_allclose(found.probabilities[name], expected.probabilities[name], atol=1e-5)
        assert (found.out_of_distribution, found.refer) == (expected.out_of_distribution, expected.refer)
    assert found.out_of_distribution is True
    monkeypatch.setattr(module.exported_model, "export_checked", lambda *_: pytest.fail("exported again"))
    on_engine(plain, run.root, engine)


def test_on_an_engine_no_image_goes_through_keras(run, predictor, monkeypatch):
    need("onnx")
    on_onnx = on_engine(predictor, run.root, "onnx")
    monkeypatch.setattr(keras.Model, "predict_on_batch", lambda *_: pytest.fail("Keras was asked"))
    assert on_onnx.predict(pixels(1)[0]).out_of_distribution is False


def test_an_export_without_the_embedding_is_made_again(run, predictor):
    need("onnx")
    on_engine(predictor, run.root, "onnx")
    sidecar = run.export("models-custom", "onnx", ".onnx.json")
    facts = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps({key: value for key, value in facts.items() if key != "outputs"}))
    on_engine(predictor, run.root, "onnx")
    assert list(json.loads(sidecar.read_text())["outputs"]) == ["custom", "custom:embedding"]


def test_a_changed_export_is_made_again(run, predictor):
    need("onnx")
    on_engine(predictor, run.root, "onnx")
    path = run.export("models-custom", "onnx", ".onnx")
    path.write_bytes(b"no model")
    assert on_engine(predictor, run.root, "onnx").predict(pixels(1)[0]).probabilities["custom"].shape == (
        len(CLASSES),
    )


def test_predict_takes_an_engine(run, tmp_path):
    need("onnx")
    Image.fromarray(pixels(1)[0]).save(tmp_path / "slice.png")
    tables = {}
    for engine in ("keras", "onnx"):
        out = tmp_path / f"{engine}.csv"
        options = ["--model", "custom", "--engine", engine, "--out", str(out), "--quiet"]
        assert main(["predict", str(run.root), str(tmp_path / "slice.png"), *options]) == 0
        with out.open(encoding="utf-8", newline="") as file:
            tables[engine] = next(csv.DictReader(file))
    columns = [f"custom:{name}" for name in CLASSES]
    said = {one: [float(row[column]) for column in columns] for one, row in tables.items()}
    assert said["onnx"] == pytest.approx(said["keras"], abs=1e-5)
    assert tables["onnx"]["prediction"] == tables["keras"]["prediction"]


def test_keras_is_the_predictor_itself_and_another_name_is_refused(run):
    predictor = load_run(run.root)
    assert on_engine(predictor, run.root, "keras") is predictor
    assert predictor.names == NAMES
    with pytest.raises(UsageError, match=r"expected an engine \(keras, openvino, onnx\), found 'torch'"):
        on_engine(predictor, run.root, "torch")
