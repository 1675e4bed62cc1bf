import contextlib
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.small_runs import draw


@pytest.fixture(scope="session")
def slice_png():
    """A drawn image as the bytes of a PNG."""
    pixels = np.random.default_rng(0).integers(0, 200, (40, 50, 3), np.uint8)
    pixels[..., 1] = np.minimum(pixels[..., 1].astype(int) + 55, 255)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def root(tmp_path):
    """A workspace with drawn images in `scans`."""
    draw(tmp_path / "work" / "scans")
    return tmp_path / "work"


def serving(folder, options="{}"):
    """A real server of the fake predictor in a process of its own: (url, process)."""
    return started([sys.executable, "-m", "tests.server.fake_server", str(folder), options])


@contextlib.contextmanager
def started(command):
    """A server that prints its address first, and is killed in the end: (url, process)."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        url = process.stdout.readline().strip()
        assert url, process.stderr.read()
        yield url, process
    finally:
        process.kill()  # as a machine does that is switched off
        process.communicate()


@pytest.fixture
def served(tmp_path):
    """Start a server with options of its own."""
    with contextlib.ExitStack() as servers:
        yield lambda options="{}": servers.enter_context(serving(tmp_path, options))
