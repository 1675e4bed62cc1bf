"""Compare the time to a validation accuracy: the whole backbone, or its upper part on cached views.

    python benchmarks/cached_trunk.py DATA [--epochs 12] [--accuracy 0.85] [--recipe default]

Both start from the same weights and are trained as the recipe's `pretrained`, with the same
schedule and number of epochs. The first keeps Keras's batch norms and augments every image anew in
every epoch; the second uses the recipe's batch norms and computes the views first, which is
included in its time. Without --accuracy the target is the lower of their two best accuracies.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the package does, if it is imported before Keras

import keras
from keras import layers

from measuring import Part, read
from tumorboard.config import Recipe, Training, load
from tumorboard.models.architectures import build_network
from tumorboard.models.model_spec import split_at_frozen
from tumorboard.training import feature_cache
from tumorboard.training.fit import Examples, fit, prepare_backend

Course = list[tuple[float, float]]
"""Seconds since the beginning and validation accuracy, after each epoch."""


def main() -> None:
    """Print both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--accuracy", type=float)
    parser.add_argument("--recipe", default="default")
    options = parser.parse_args()
    plan = load(options.recipe)
    training = plan.models["pretrained"].training.model_copy(update={"epochs": options.epochs})
    parts = read(options.data, plan.image, "train", "valid")
    cached, whole = _cached(plan, training, parts), _whole(plan, training, parts)
    best = [max(accuracy for _, accuracy in course) for course in (cached, whole)]
    mark = options.accuracy or min(best)
    n = len(parts[1][1])
    print(
        f"pretrained, {options.epochs} epochs: on the cached trunk {cached[-1][0]:.0f} s, best validation "
        f"accuracy {best[0]:.3f}; whole backbone {whole[-1][0]:.0f} s, {best[1]:.3f} (n = {n})"
    )
    print(_verdict(mark, _reached(cached, mark), _reached(whole, mark)))


def _verdict(mark: float, cached: float | None, whole: float | None) -> str:
    if cached is None or whole is None:
        names = {"cached trunk": cached, "whole backbone": whole}
        missed = [name for name, seconds in names.items() if seconds is None]
        return f"to {mark:.3f}: not reached by {' and '.join(missed)}; no ratio"
    return f"to {mark:.3f}: {cached:.0f} s against {whole:.0f} s: {whole / cached:.1f} times faster"


def _reached(course: Course, mark: float) -> float | None:
    return next((seconds for seconds, accuracy in course if accuracy >= mark), None)


def _fresh(plan: Recipe, parts: list[Part], norms: str = "") -> keras.Model:
    prepare_backend(0, plan.threads or len(os.sched_getaffinity(0)))
    classes = int(max(labels.max() for _, labels in parts)) + 1
    network = plan.models["pretrained"]
    network = network.model_copy(update={"norms": norms}) if norms else network
    return build_network("pretrained", network, plan.image, classes, 0)


def _cached(plan: Recipe, training: Training, parts: list[Part]) -> Course:
    trunk, tail = split_at_frozen(_fresh(plan, parts))
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        train, valid = (
            Examples(
                feature_cache.compute_views(
                    trunk,
                    images,
                    Path(folder) / name,
                    views=training.views,
                    augmented=name == "train",
                    seed=0,
                ),
                labels,
            )
            for name, (images, labels) in zip(("train", "valid"), parts, strict=True)
        )
        return _trained(tail, train, valid, training, begun)


def _whole(plan: Recipe, training: Training, parts: list[Part]) -> Course:
    model = _fresh(plan, parts, "frozen")
    _unfreeze(model)
    train, valid = (Examples([[images]], labels) for images, labels in parts)
    return _trained(model, train, valid, training, time.perf_counter())


def _unfreeze(model: keras.Model) -> None:
    """Unfreeze all convolutions; the backbone's batch norms stay frozen."""
    trunk = next(layer for layer in model.layers if layer.name.endswith(("_trunk", "_backbone")))
    trunk.trainable = True
    for layer in trunk.layers:
        layer.trainable = not isinstance(layer, layers.BatchNormalization)


def _trained(
    network: keras.Model, train: Examples, valid: Examples, training: Training, begun: float
) -> Course:
    course: Course = []
    with tempfile.TemporaryDirectory() as folder:
        fit(
            network,
            train,
            valid,
            training,
            state=Path(folder) / "state.npz",
            seed=0,
            on_epoch=lambda row: course.append((time.perf_counter() - begun, row["val_accuracy"])),
        )
    return course


if __name__ == "__main__":
    main()
