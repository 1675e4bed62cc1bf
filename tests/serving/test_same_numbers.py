"""Library, `predict`, HTTP and page: the same bits for two hundred drawn images.

benchmarks/same_numbers.py asks it of any run and folder; the ways of asking are its.
"""

import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from PIL import Image

from tests.small_boards import calibrate, finished, pixels
from tumorboard import storage
from tumorboard.serving import app, guard, server
from tumorboard.serving.house import House
from tumorboard.workflows import batch_predict
from tumorboard.workflows.predictor import open_board

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
    made = finished(tmp_path_factory.mktemp("same") / "run")
    calibrate(made, "custom")
    storage.write_json(made.metrics, {"recommendation": {"model": "custom"}, "models": {}})
    return made


@pytest.fixture(scope="module")
def board(run):
    return open_board(run.root)


@pytest.fixture(scope="module")
def expected(board, files):
    return same.library(board, files)


@pytest.fixture(scope="module")
def url(run, board):
    """The board behind a real socket, in this process."""
    house = House(board, lambda name, image, target: image, {}, run)
    listener = server.listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    guarded = guard.Guard(app.build(house), guard.rules("127.0.0.1", port))
    served = uvicorn.Server(uvicorn.Config(guarded, log_level="warning", ws="none"))
    thread = threading.Thread(target=served.run, args=([listener],))
    thread.start()
    yield f"http://127.0.0.1:{port}/"
    served.should_exit = True
    thread.join()
    listener.close()


def test_the_command_says_the_same(run, board, files, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(batch_predict, "open_board", lambda *_: board)
    done = batch_predict.predict_files(run.root, files, tmp_path / "out.csv")
    np.testing.assert_array_equal(same._table(done.table, board, ":"), expected)
    assert expected.shape == (COUNT, 4 * 3 + 1)


def test_http_says_the_same(url, board, files, expected):
    np.testing.assert_array_equal(same.over_http(url, board, files), expected)


@pytest.mark.skipif(not same.browser(), reason="no playwright, or no Chromium")
def test_the_page_says_the_same(url, board, files, expected):
    np.testing.assert_array_equal(same.page(url, board, files), expected)


@pytest.mark.slow
@pytest.mark.skipif(
    "TUMORBOARD_RUN" not in os.environ, reason="names no run: $TUMORBOARD_RUN, $TUMORBOARD_IMAGES"
)
def test_a_run_of_yours_says_the_same_of_images_of_yours():
    command = [sys.executable, BENCHMARK, os.environ["TUMORBOARD_RUN"], os.environ["TUMORBOARD_IMAGES"]]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr[-1000:]
