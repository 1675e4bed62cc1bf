"""The study's own training loop against ours, and our prediction against a plain one, in one process.

    python benchmarks/training.py DATA [--epochs 60] [--images 128]

Rates are measured on the first images of train and extrapolated to all of them for that many epochs; what
is computed once is counted. Only the ratios mean something on a machine that does other work too.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the package does, if it is imported before Keras

import keras
import numpy as np

from tumorboard.data import manifest
from tumorboard.data.inputs import read_input
from tumorboard.models.build import build
from tumorboard.models.contract import split_at_frozen
from tumorboard.models.predicting import probabilities
from tumorboard.recipe import load
from tumorboard.training import backend, features


def main() -> None:
    """Print a row a comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--images", type=int, default=128)
    options = parser.parse_args()
    backend.prepare(0, len(os.sched_getaffinity(0)))
    found = manifest.load(options.data).manifest.part("train")
    rule = load("default").image
    images = np.stack([read_input(sample.path, rule) for sample in found.samples[: options.images]])
    labels = found.labels[: options.images]
    total, classes = len(found.samples), len(found.class_names)
    _frozen(images, labels, total, classes, options.epochs)
    _custom(images, labels, classes)
    _prediction(images, classes)
    print(f"matrix product, 2,048 squared, float32: {_matrix_gflops():.0f} GFLOP/s")


def _frozen(images: np.ndarray, labels: np.ndarray, total: int, classes: int, epochs: int) -> None:
    """The study's frozen first model: the backbone in every epoch, or once for each view."""
    settings = load("notebook-fast").with_options("efficientnet-lite0", None, None)
    network = settings.models["pretrained"]
    model = build("pretrained", network, settings.image, classes, 0)
    plain = _rate(lambda: _epoch(model, images, labels), len(images))
    trunk, tail = split_at_frozen(model)
    with tempfile.TemporaryDirectory() as folder:
        kept = features.compute(trunk, images, Path(folder), views=1, augmented=True, seed=0)[0][0]
        features.compute(trunk, images, Path(folder) / "first", views=1, augmented=True, seed=0)
        begun = time.perf_counter()
        features.compute(trunk, images, Path(folder) / "timed", views=1, augmented=True, seed=0)
        view = (time.perf_counter() - begun) / len(images)
    head = _rate(lambda: _epoch(tail, np.asarray(kept), labels), len(images))
    views, loop = total * network.training.views * view, total * epochs / plain
    heads = total * epochs / head
    print(
        f"frozen model, {total} images, {epochs} epochs: backbone in every epoch {loop:.0f} s; "
        f"{network.training.views} views once {views:.0f} s and the head {heads:.0f} s: "
        f"{loop / (views + heads):.1f} times faster, "
        f"{2 * loop / (views + 2 * heads):.1f} with a chain that shares the views"
    )


def _custom(images: np.ndarray, labels: np.ndarray, classes: int) -> None:
    study, ours = load("notebook"), load("default")
    slow = build("custom", study.models["custom"], study.image, classes, 0)
    quick = build("custom", ours.models["custom"], ours.image, classes, 0)
    trunk, tail = split_at_frozen(quick)
    small = trunk.predict(images, verbose=0)
    a = _rate(lambda: _epoch(slow, images, labels), len(images))
    b = _rate(lambda: _epoch(tail, small, labels), len(images))
    print(f"custom network, an epoch: the study's {a:.0f} images/s, ours {b:.0f}: {b / a:.1f} times faster")


def _prediction(images: np.ndarray, classes: int) -> None:
    plan = load("default")
    model = build("pretrained", plan.models["pretrained"], plan.image, classes, 0)
    a = _rate(lambda: model.predict(images, batch_size=32, verbose=0), len(images))
    b = _rate(lambda: probabilities(model, images), len(images))
    print(f"prediction: model.predict {a:.0f} images/s, ours {b:.0f}: {b / a:.2f} times as fast")


def _epoch(model: keras.Model, x: np.ndarray, y: np.ndarray) -> None:
    if not model.compiled:
        model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(x, y, batch_size=32, verbose=0)


def _rate(run: Callable[[], object], images: int) -> float:
    """Images a second: the better of two runs behind one that builds the graph."""
    run()
    seconds = []
    for _ in range(2):
        begun = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begun)
    return images / min(seconds)


def _matrix_gflops() -> float:
    import tensorflow as tf

    one = tf.random.normal((2048, 2048))
    product = tf.function(lambda: tf.linalg.matmul(one, one))
    return 2 * 2048**3 / 1e9 * _rate(lambda: product().numpy(), 1)


if __name__ == "__main__":
    main()
