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


@pytest.fixture
def served(tmp_path):
    """Start a real server of the fake board in a process of its own: (url, process)."""
    started = []

    def start(options="{}"):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.serving.boards", str(tmp_path), options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        url = process.stdout.readline().strip()
        assert url, process.stderr.read()
        return url, process

    yield start
    for process in started:
        process.kill()
        process.communicate()
