import csv
import json
from importlib.util import find_spec

import keras
import numpy as np
import pytest
from PIL import Image

from tests.small_predictors import CLASSES, NAMES, calibrate, finished, pixels
from tumorboard.cli.main import main
from tumorboard.errors import UsageError
from tumorboard.workflows import export
from tumorboard.workflows.export import on_engine
from tumorboard.workflows.predictor import load_run

NEEDED = {"onnx": ("onnx", "onnxruntime", "tf2onnx"), "openvino": ("openvino",)}


def need(engine):
    missing = [one for one in NEEDED[engine] if find_spec(one) is None]
    if missing:
        pytest.skip(f"the engine {engine} needs {missing[0]}")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "IMAGES", 2)
    return finished(tmp_path / "run")


@pytest.mark.parametrize("engine", NEEDED)
def test_an_engine_answers_as_keras_does_and_is_exported_once(run, engine, monkeypatch):
    need(engine)
    calibrate(run, "custom")
    plain = load_run(run.root, ("custom", "ensemble"))
    board = on_engine(plain, run.root, engine)
    for image in [*pixels(3, seed=4), np.full((32, 32, 3), 255, np.uint8)]:
        expected, found = plain.predict(image), board.predict(image)
        for name in plain.names:
            np.testing.assert_allclose(found.probabilities[name], expected.probabilities[name], atol=1e-5)
        assert (found.out_of_distribution, found.refer) == (expected.out_of_distribution, expected.refer)
    assert found.out_of_distribution is True
    monkeypatch.setattr(export.exported_model, "export_checked", lambda *_: pytest.fail("exported again"))
    on_engine(plain, run.root, engine)


def test_on_an_engine_no_image_goes_through_keras(run, monkeypatch):
    need("onnx")
    calibrate(run, "custom")
    board = on_engine(load_run(run.root, ("custom",)), run.root, "onnx")
    monkeypatch.setattr(keras.Model, "predict_on_batch", lambda *_: pytest.fail("Keras was asked"))
    assert board.predict(pixels(1)[0]).out_of_distribution is False


def test_an_export_without_the_embedding_is_made_again(run):
    need("onnx")
    board = load_run(run.root, ("custom",))
    on_engine(board, run.root, "onnx")
    sidecar = run.export("models-custom", "onnx", ".onnx.json")
    facts = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps({key: value for key, value in facts.items() if key != "outputs"}))
    on_engine(board, run.root, "onnx")
    assert list(json.loads(sidecar.read_text())["outputs"]) == ["custom", "custom:embedding"]


def test_a_changed_export_is_made_again(run):
    need("onnx")
    board = load_run(run.root, ("custom",))
    on_engine(board, run.root, "onnx")
    path = run.export("models-custom", "onnx", ".onnx")
    path.write_bytes(b"no model")
    assert on_engine(board, run.root, "onnx").predict(pixels(1)[0]).probabilities["custom"].shape == (
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


def test_keras_is_the_board_itself_and_another_name_is_refused(run):
    board = load_run(run.root)
    assert on_engine(board, run.root, "keras") is board
    assert board.names == NAMES
    with pytest.raises(UsageError, match=r"expected an engine \(keras, openvino, onnx\), found 'torch'"):
        on_engine(board, run.root, "torch")
