"""Measure what a training step of the custom network spends its processor time on.

    python experiments/custom_step.py [--rounds 5]

Prints the processor time per image (random pixels, four classes) of the network as it is, and of
versions of it, which are not all useful networks: they show what a part costs. The rounds alternate;
the median counts, which depends little on what else is running.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the package does, if it is imported before Keras

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tumorboard.config import Augmentation, Image, load
from tumorboard.models.architectures import build_network
from tumorboard.models.augmentation import Augmented
from tumorboard.models.model_spec import split_at_frozen
from tumorboard.training.fit import compile_model, prepare_backend

IMAGES = 192
NO_AUGMENTATION = Augmentation(flip="none", rotation=0, zoom=0)
CUSTOM = load("default").models["custom"]


class FusedNorm(layers.Layer):
    """TensorFlow's fused batch norm, with the statistics of the batch; Keras computes it in several steps."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Make scale and offset."""
        self.gamma = self.add_weight(shape=shape[-1:], initializer="ones")
        self.beta = self.add_weight(shape=shape[-1:], initializer="zeros")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Normalise (N, H, W, C)."""
        return tf.compat.v1.nn.fused_batch_norm(x, self.gamma.value, self.beta.value, epsilon=1e-3)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    prepare_backend(0, len(os.sched_getaffinity(0)))
    versions = {
        "as it is, 112x112, batches of 32": step(tail()),
        "batches of 16": step(tail(), batch=16),
        "batches of 64": step(tail(), batch=64),
        "rotation, zoom and translation in one interpolation": step(Augmented(tail())),
        "80x80": step(tail(size=160)),
        "64x64": step(tail(size=128)),
        "no augmentation": step(tail(NO_AUGMENTATION)),
        "no augmentation, fused norms": step(with_norms(FusedNorm)),
        "no augmentation, no norms": step(with_norms(layers.Identity)),
    }
    times: dict[str, list[float]] = {name: [] for name in versions}
    for _ in range(options.rounds):
        for name, measure in versions.items():
            times[name].append(measure())
    whole = statistics.median(next(iter(times.values())))
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"{name}: {1000 * median:.2f} ms per image, {median / whole:.2f} of the first")


def tail(augmentation: Augmentation = CUSTOM.augmentation, size: int = 224) -> keras.Model:
    """Build the trained part of the custom network for images of this size."""
    settings = CUSTOM.model_copy(update={"augmentation": augmentation})
    return split_at_frozen(build_network("custom", settings, Image(size=size), 4, 0))[1]


def with_norms(kind: type[layers.Layer]) -> keras.Model:
    """Build the network without augmentation, with other layers in place of its batch norms."""

    def copy(layer: layers.Layer) -> layers.Layer:
        if isinstance(layer, layers.BatchNormalization):
            return kind(name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    def call(layer: layers.Layer, x: Any, **arguments: Any) -> Any:
        return layer(x) if isinstance(layer, kind) else layer(x, **arguments)

    return keras.models.clone_model(tail(NO_AUGMENTATION), clone_function=copy, call_function=call)


def step(model: keras.Model, batch: int = 32) -> Callable[[], float]:
    """Compile a model; what is returned trains on all images and returns the processor time per image."""
    side = 112 if isinstance(model, Augmented) else model.inputs[0].shape[1]
    rng = np.random.default_rng(0)
    pixels = rng.uniform(0, 255, (IMAGES, side, side, 1)).astype(np.float32)
    labels = rng.integers(0, 4, IMAGES)
    if isinstance(model, Augmented):
        model(pixels[:1])  # builds it
    compile_model(model, CUSTOM.training, IMAGES // batch)

    def measure() -> float:
        begun = time.process_time()
        for start in range(0, IMAGES, batch):
            model.train_on_batch(pixels[start : start + batch], labels[start : start + batch])
        return (time.process_time() - begun) / IMAGES

    measure()  # traces the graph
    return measure


if __name__ == "__main__":
    main()
