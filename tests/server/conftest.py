import contextlib
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def slice_png():
    """A drawn image as the bytes of a PNG."""
    pixels = np.random.default_rng(0).integers(0, 200, (40, 50, 3), np.uint8)
    pixels[..., 1] = np.minimum(pixels[..., 1].astype(int) + 55, 255)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@contextlib.contextmanager
def serving(folder, options="{}"):
    """A real server of the fake predictor in a process of its own: (url, process)."""
    command = [sys.executable, "-m", "tests.server.fake_server", str(folder), options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        url = process.stdout.readline().strip()
        assert url, process.stderr.read()
        yield url, process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def served(tmp_path):
    """Start a server with options of its own."""
    with contextlib.ExitStack() as servers:
        yield lambda options="{}": servers.enter_context(serving(tmp_path, options))
