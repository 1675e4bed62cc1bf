"""What several benchmarks need: images as arrays, rates, and the machine's own speed to compare with."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tumorboard.config import Image
from tumorboard.data import image_cache, manifest

Part = tuple[np.ndarray, np.ndarray]
"""Images (N, S, S, 3) uint8 and labels (N,)."""


def read(data: Path, rule: Image, *splits: str) -> list[Part]:
    """All images of these splits that can be read."""
    with tempfile.TemporaryDirectory() as folder:
        decoded = image_cache.decode(manifest.load(data).manifest, Path(folder), rule, skip_bad=True)
        found = np.array([sample.split for sample in decoded.manifest.samples])
        return [
            (np.array(decoded.images[found == split]), decoded.manifest.part(split).labels)
            for split in splits
        ]


def some(part: Part, count: int) -> Part:
    """So many of them, from every part of the list, so that every class is there."""
    images, labels = part
    chosen = np.linspace(0, len(labels) - 1, min(count, len(labels))).astype(int)
    return images[chosen], labels[chosen]


def rate(run: Callable[[], object], items: float, rounds: int = 2) -> float:
    """Items a second: the best of some rounds behind one that builds the graph."""
    run()
    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begun)
    return items / min(seconds)


def matrix_gflops() -> float:
    """What this machine does at its best, now: a product of two float32 matrices, 2,048 squared."""
    import tensorflow as tf

    one = tf.random.normal((2048, 2048))
    product = tf.function(lambda: tf.linalg.matmul(one, one))
    return rate(lambda: product().numpy(), 2 * 2048**3 / 1e9, rounds=5)
