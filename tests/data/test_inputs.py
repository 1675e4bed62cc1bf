from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from tumorboard import config
from tumorboard.data import image_cache, manifest
from tumorboard.data.image_reader import read_input


def test_a_file_read_alone_equals_the_same_file_in_training(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        path = tmp_path / "scans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(random.integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(path)
    rule = config.Image(size=32, resize="pad", interpolation="bicubic")
    decoded = image_cache.decode(manifest.load(tmp_path / "scans").manifest, tmp_path / "cache", rule)
    for sample, image in zip(decoded.manifest.samples, decoded.images, strict=True):
        assert np.array_equal(read_input(str(sample.path), rule), image)
        assert np.array_equal(read_input(sample.path.read_bytes(), rule), image)
