"""The page answers what the library answers."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.small_boards import NAMES, calibrate, finished, pixels
from tumorboard import storage
from tumorboard.errors import RunFolderError
from tumorboard.run_folder import RunFolder
from tumorboard.serving import app
from tumorboard.serving.opening import open_house
from tumorboard.workflows.predictor import open_board


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = finished(tmp_path_factory.mktemp("opening") / "run")
    calibrate(made, "custom")
    content = json.loads(made.metrics.read_text())
    part = {"n": 9, "accuracy": {"value": 0.5, "n": 9, "low": 0.2, "high": 0.8}}
    models = {name: {"splits": {"test": part}} for name in NAMES}
    storage.write_json(made.metrics, content | {"models": models, "test_subsets": {}})
    return made


def test_over_http_the_numbers_are_those_of_the_library(run):
    board = open_board(run.root)
    with TestClient(app.build(open_house(run.root))) as client:
        assert client.get("/api/run").json()["recommended"] == "custom"
        for image in pixels(5, seed=2, size=50):
            file = io.BytesIO()
            Image.fromarray(image).save(file, "PNG")
            found = client.post("/api/predict", content=file.getvalue()).json()
            expected = board.opinion(board.read(file.getvalue()))
            for one in found["models"]:
                rows = expected.probabilities[one["name"]].tolist()
                assert list(one["probabilities"].values()) == rows
            joint = found["joint"]
            assert joint["confidence"] == expected.calibrated.max()
            assert len(joint["possible"]) == expected.possible.sum()
            assert (joint["ask_a_human"], joint["unlike_training"]) == (expected.abstains, expected.unlike)
        heat = client.post("/api/explain?model=ensemble", content=file.getvalue())
        assert heat.status_code == 200


def test_the_layer_is_as_dense_as_the_map_is_hot(run):
    image = pixels(1)[0]
    layer = open_house(run.root).heat_layer("custom", image, 1)
    heat = open_board(run.root).heat_map("custom", image, 1)
    np.testing.assert_array_equal(layer[..., 3], (255 * heat).round())


def test_a_folder_that_is_no_run_is_one_line(tmp_path):
    with pytest.raises(RunFolderError, match="finished run"):
        open_house(RunFolder(tmp_path).root)
