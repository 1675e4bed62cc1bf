"""Compare the study's training loop in plain Keras with Tumorboard's, model by model, and prediction.

    python benchmarks/training.py DATA [--epochs 60] [--images 128] [--backbone efficientnet-lite0]

The study's loop is measured on some images of train and extrapolated to all images and epochs;
Tumorboard's is run in full: all views, then the head on one of them for all epochs. For the frozen
models both compute the same function: the study runs its backbone in every epoch, Tumorboard once
per view with folded batch norms. The study's own backbone is `--backbone resnet50`, here with
random weights.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the package does, if it is imported before Keras

import keras
import numpy as np

from measuring import Part, matrix_gflops, rate, read, some
from tumorboard.config import Pretrained, Recipe, load
from tumorboard.ensembles.ensemble import build_chain
from tumorboard.models.architectures import build_network
from tumorboard.models.inference import probabilities
from tumorboard.models.model_spec import ModelSpec, split_at_frozen
from tumorboard.training import feature_cache, fit


def main() -> None:
    """Print one line per comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--backbone", default="efficientnet-lite0")
    options = parser.parse_args()
    fit.prepare_backend(0, len(os.sched_getaffinity(0)))
    whole = read(options.data, load("default").image, "train")[0]
    part, classes = some(whole, options.images), int(whole[1].max()) + 1
    weights = "imagenet" if options.backbone == "efficientnet-lite0" else "none"
    fast = load("notebook-fast").with_options(options.backbone, weights, None)
    _frozen(fast, part, whole, classes, options.epochs)
    _custom(whole, classes)
    _prediction(part[0], classes)
    print(f"matrix product, 2,048 squared, float32: {matrix_gflops():.0f} GFLOP/s")


def _frozen(plan: Recipe, part: Part, whole: Part, classes: int, epochs: int) -> None:
    """Time the study's first and chained model: the backbone in every epoch, or once per view."""
    network, total = plan.models["pretrained"], len(whole[1])
    theirs = _models(plan, network.model_copy(update={"norms": "frozen"}), classes)
    ours = _models(plan, network, classes)
    views, kept = _views(ours["pretrained"], whole[0], network.training.views)
    print(f"{network.training.views} views of the frozen backbone: {views:.0f} s, once for both models")
    loops, heads = [], []
    for name, one in theirs.items():
        loops.append(total * epochs / rate(lambda one=one: _fit(one, *part), len(part[1])))
        tail = split_at_frozen(ours[name])[1]
        heads.append(1 / rate(lambda tail=tail: _fit(tail, kept, whole[1], epochs), 1, rounds=1))
        print(
            f"{name}, {total} images, {epochs} epochs: the study's loop {loops[-1]:.0f} s, ours "
            f"{heads[-1]:.0f} s and the views: {loops[-1] / (views + heads[-1]):.1f} times faster"
        )
    print(f"both, the views once: {sum(loops) / (views + sum(heads)):.1f} times faster")


def _models(plan: Recipe, network: Pretrained, classes: int) -> dict[str, keras.Model]:
    model = build_network("pretrained", network, plan.image, classes, 0)
    spec = ModelSpec("pretrained", "pretrained", tuple(map(str, range(classes))), plan.image)
    return {"pretrained": model, "chained": build_chain("chained", [(model, spec)], plan.chained)}


def _views(model: keras.Model, images: np.ndarray, count: int) -> tuple[float, np.ndarray]:
    """Return the seconds for all views, including building the graph, and one view."""
    trunk = split_at_frozen(model)[0]
    with tempfile.TemporaryDirectory() as folder:

        def compute(name: str, some: np.ndarray, views: int) -> None:
            feature_cache.compute_views(trunk, some, Path(folder) / name, views=views, augmented=True, seed=0)

        compute("warm", images[:32], 1)  # reads libraries
        begun = time.perf_counter()
        compute("all", images, count)
        return time.perf_counter() - begun, np.load(Path(folder) / "all" / "view0-0.npy")


def _custom(part: Part, classes: int) -> None:
    images, labels = part
    study, ours = load("notebook"), load("default")
    slow = build_network("custom", study.models["custom"], study.image, classes, 0)
    quick = build_network("custom", ours.models["custom"], ours.image, classes, 0)
    trunk, tail = split_at_frozen(quick)
    small = trunk.predict(images, verbose=0)
    a = rate(lambda: _fit(slow, images, labels), len(images))
    b = rate(lambda: _fit(tail, small, labels), len(images))
    print(f"custom, an epoch: the study's {a:.0f} images/s, ours {b:.0f}: {b / a:.1f} times faster")


def _prediction(images: np.ndarray, classes: int) -> None:
    plan = load("default")
    model = build_network("pretrained", plan.models["pretrained"], plan.image, classes, 0)
    a = rate(lambda: model.predict(images, batch_size=32, verbose=0), len(images))
    b = rate(lambda: probabilities(model, images), len(images))
    print(f"prediction: model.predict {a:.0f} images/s, ours {b:.0f}: {b / a:.2f} times as fast")


def _fit(model: keras.Model, x: np.ndarray, y: np.ndarray, epochs: int = 1) -> None:
    if not model.compiled:
        model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)


if __name__ == "__main__":
    main()
