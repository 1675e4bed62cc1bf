"""Shared by several benchmarks: images as arrays, rates, and the speed of the machine for comparison."""

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
    """Read all readable images of these splits."""
    with tempfile.TemporaryDirectory() as folder:
        decoded = image_cache.decode(manifest.load(data).manifest, Path(folder), rule, skip_bad=True)
        found = np.array([sample.split for sample in decoded.manifest.samples])
        return [
            (np.array(decoded.images[found == split]), decoded.manifest.select(split).labels)
            for split in splits
        ]


def some(part: Part, count: int) -> Part:
    """Return so many images, spread over the list so that every class occurs."""
    images, labels = part
    chosen = np.linspace(0, len(labels) - 1, min(count, len(labels))).astype(int)
    return images[chosen], labels[chosen]


def rate(run: Callable[[], object], items: float, rounds: int = 2) -> float:
    """Return items per second: the fastest of several rounds, after one that builds the graph."""
    run()
    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begun)
    return items / min(seconds)


def matrix_gflops() -> float:
    """Measure the product of two float32 matrices of 2,048 x 2,048."""
    import tensorflow as tf

    one = tf.random.normal((2048, 2048))
    product = tf.function(lambda: tf.linalg.matmul(one, one))
    return rate(lambda: product().numpy(), 2 * 2048**3 / 1e9, rounds=5)
