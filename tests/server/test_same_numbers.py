"""Library, `predict`, HTTP and page: the same bits for two hundred drawn images.

benchmarks/same_numbers.py asks it of any run and folder; the ways of asking are its.
"""

import csv
import importlib.util
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from tests.small_predictors import NAMES, calibrate, finished, pixels
from tumorboard import storage
from tumorboard.errors import RunFolderError
from tumorboard.server import app, security, server
from tumorboard.workflows import batch_predict
from tumorboard.workflows.predictor import load_run

from .fake_server import FakeHeatMaps

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "same_numbers.py"
_spec = importlib.util.spec_from_file_location("same_numbers", BENCHMARK)
same = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(same)

COUNT = 200


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    for number, picture in enumerate(pixels(COUNT, seed=3, size=40)):
        suffix = "jpg" if number % 4 == 0 else "png"
        Image.fromarray(picture[: 40 - number % 7]).save(folder / f"{number:03d}.{suffix}")
    return same.chosen(folder, COUNT)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = finished(tmp_path_factory.mktemp("same") / "run", joint_graph=True)
    calibrate(made, "custom")
    storage.write_json(made.patients, {name: {"method": "log_odds", "reason": ""} for name in NAMES})
    storage.write_json(made.metrics, {"recommendation": {"model": "custom"}, "models": {}})
    return made


@pytest.fixture(scope="module")
def predictor(run):
    return load_run(run.root)


@pytest.fixture(scope="module")
def expected(predictor, files):
    return same.library(predictor, files)


@pytest.fixture(scope="module")
def url(run, predictor):
    """The models behind a real socket, in this process."""
    state = app.AppState(predictor, FakeHeatMaps(), {}, run)
    listener = server.listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    guarded = security.RequestGuard(app.build(state), security.access_rules("127.0.0.1", port))
    served = uvicorn.Server(uvicorn.Config(guarded, log_level="warning", ws="none"))
    thread = threading.Thread(target=served.run, args=([listener],))
    thread.start()
    yield f"http://127.0.0.1:{port}/"
    served.should_exit = True
    thread.join()
    listener.close()


def test_the_command_says_the_same(run, predictor, files, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_predict, "load_run", lambda *_, engine: predictor)
    done = batch_predict.predict_files(run.root, files, tmp_path / "out.csv")
    np.testing.assert_array_equal(same._table(done.table, predictor, "{}:{}"), expected)
    assert expected.shape == (COUNT, 4 * 3 + 1)


def test_http_says_the_same(url, predictor, files, expected):
    np.testing.assert_array_equal(same.over_http(url, predictor, files), expected)


@pytest.mark.skipif(not same.browser(), reason="no playwright, or no Chromium")
def test_the_page_says_the_same(url, predictor, files, expected):
    np.testing.assert_array_equal(same.page(url, predictor, files), expected)


@pytest.mark.skipif(not same.browser(), reason="no playwright, or no Chromium")
def test_of_a_patient_the_page_says_the_same_as_the_table(run, url, predictor, files, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_predict, "load_run", lambda *_, engine: predictor)
    done = batch_predict.predict_files(run.root, files[:7], tmp_path / "out.csv", by="folder")
    with done.patients.open(encoding="utf-8", newline="") as table:
        (row,) = csv.DictReader(table)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        page = driver.chromium.launch(executable_path=same.browser(), args=["--no-sandbox"]).new_page()
        page.goto(url)
        page.get_by_text("models; classes").wait_for()
        page.get_by_label("choose files").set_input_files(files[:7])
        page.get_by_text("All 7 images predicted").wait_for()
        with page.expect_response("**/api/patient") as reply:
            page.get_by_label("All these images are of one patient").check()
        joint = reply.value.json()
        page.get_by_text(f"{Path(row['decided_by']).name} contributes most").wait_for()
    assert (joint["prediction"], joint["method"]) == (row["prediction"], row["method"])
    assert joint["method"] == "log_odds"
    assert joint["confidence"] == pytest.approx(float(row["confidence"]), abs=1e-6)
    for model in joint["models"]:
        for label, share in model["probabilities"].items():
            assert share == pytest.approx(float(row[f"{model['name']}:{label}"]), abs=1e-6)
    assert joint["refer"] is (row["refer"] == "yes")


@pytest.mark.slow
@pytest.mark.skipif(
    "TUMORBOARD_RUN" not in os.environ, reason="names no run: $TUMORBOARD_RUN, $TUMORBOARD_IMAGES"
)
def test_a_run_of_yours_says_the_same_of_images_of_yours():
    command = [sys.executable, BENCHMARK, os.environ["TUMORBOARD_RUN"], os.environ["TUMORBOARD_IMAGES"]]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr[-1000:]


@pytest.fixture(scope="module")
def opened_run(tmp_path_factory):
    made = finished(tmp_path_factory.mktemp("opening") / "run", joint_graph=True)
    calibrate(made, "custom")
    content = json.loads(made.metrics.read_text())
    part = {"n": 9, "accuracy": {"value": 0.5, "n": 9, "low": 0.2, "high": 0.8}}
    models = {name: {"splits": {"test": part}} for name in NAMES}
    storage.write_json(made.metrics, content | {"models": models, "test_subsets": {}})
    return made


def test_over_http_the_numbers_are_those_of_the_library(opened_run):
    predictor = load_run(opened_run.root)
    with TestClient(app.build(server.open_state(opened_run.root))) as client:
        assert client.get("/api/run").json()["recommended"] == "custom"
        for image in pixels(5, seed=2, size=50):
            file = io.BytesIO()
            Image.fromarray(image).save(file, "PNG")
            reply = client.post("/api/predict", content=file.getvalue()).json()
            expected = predictor.predict(predictor.read(file.getvalue()))
            for model in reply["models"]:
                rows = expected.probabilities[model["name"]].tolist()
                assert list(model["probabilities"].values()) == rows
            assert list(reply["probabilities"].values()) == expected.calibrated.tolist()
            assert reply["confidence"] == expected.calibrated.max()
            assert len(reply["prediction_set"]) == expected.prediction_set.sum()
            assert (reply["refer"], reply["out_of_distribution"]) == (
                expected.refer,
                expected.out_of_distribution,
            )
        heat = client.post("/api/explain?model=ensemble", content=file.getvalue())
        assert heat.status_code == 200


def test_the_layer_is_as_dense_as_the_map_is_hot(opened_run):
    image = pixels(1)[0]
    layer = server.open_state(opened_run.root).heat_maps.layer("custom", image, 1)
    heat = load_run(opened_run.root).heat_map("custom", image, 1)
    np.testing.assert_array_equal(layer[..., 3], (255 * heat).round())


def test_a_folder_that_is_no_run_is_one_line(tmp_path):
    with pytest.raises(RunFolderError, match="finished run"):
        server.open_state(tmp_path)
