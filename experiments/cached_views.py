"""Compare cached augmented views with augmentation in every epoch: accuracy of the heads, and speed.

    python experiments/cached_views.py DATA [--backbone NAME] [--seeds 3] [--epochs 15] [--views 8 4]

All variants train the study's first model, its backbone frozen, for the same number of epochs. Then
each variant with cached views is trained until early stopping, and the time without a cache is
extrapolated to as many epochs. Fewer views are the first of the largest number, and their time is a
share of it.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from tumorboard.config import Recipe, Training, load
from tumorboard.data import image_cache, manifest, splitting
from tumorboard.data.image_cache import Rows
from tumorboard.models.architectures import build_network
from tumorboard.models.model_spec import split_at_frozen
from tumorboard.training import feature_cache
from tumorboard.training.fit import Examples, fit

Data = dict[str, Examples]
SPLITS = ("train", "valid")


@dataclass
class Timed:
    """A training: best validation accuracy, duration, number of epochs."""

    accuracy: float
    seconds: float
    epochs: int


def main() -> None:
    options = _options()
    plan = load("notebook-fast").with_options(options.backbone, None, None)
    with tempfile.TemporaryDirectory() as folder:
        data = _read(plan, options.data, Path(folder))
        classes = int(max(data["train"].labels)) + 1
        rows = [_one_seed(plan, data, classes, Path(folder), s, options) for s in range(options.seeds)]
    what = f"best validation accuracy in {options.epochs} epochs, {len(rows)} seeds"
    print(f"on the fly: {what}: {_spread([fly for fly, _ in rows])}")
    for count in options.views:
        accuracies, longer, ratios = zip(*(cached[count] for _, cached in rows), strict=True)
        print(
            f"{count} views: {what}: {_spread(accuracies)}; to early stopping {_spread(longer)}, "
            f"times faster {_spread(ratios)}"
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--backbone", default="efficientnet-lite0")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--views", type=int, nargs="+", default=[8], help="of each image")
    return parser.parse_args()


def _read(plan: Recipe, source: Path, folder: Path) -> Data:
    decoded = image_cache.decode(manifest.load(source).manifest, folder, plan.image, skip_bad=True)
    whole = splitting.assign_splits(decoded.manifest, decoded.pixel_sha256, plan.splitting, plan.seed)
    found = np.array([sample.split for sample in whole.samples])
    rows = {split: Rows(decoded.images, np.flatnonzero(found == split)) for split in SPLITS}
    return {split: Examples([[rows[split]]], whole.select(split).labels) for split in SPLITS}


def _one_seed(
    plan: Recipe, data: Data, classes: int, folder: Path, seed: int, options: argparse.Namespace
) -> tuple[float, dict[int, tuple[float, float, float]]]:
    """Train without a cache and with each number of views; return accuracies and the ratio of times."""

    def network() -> keras.Model:
        keras.utils.set_random_seed(seed)
        return build_network("pretrained", settings, plan.image, classes, seed)

    epochs, settings = options.epochs, plan.models["pretrained"]
    short = Training(epochs=epochs, patience=0)
    begun = time.monotonic()
    most = max(options.views)
    views = _views(network(), data, folder / f"views{seed}", most, seed)
    computing, state = time.monotonic() - begun, folder / f"state{seed}"
    fly = _train(network(), data, short, state / "fly", seed)
    found: dict[int, tuple[float, float, float]] = {}
    for count in options.views:
        some = views | {"train": _first(views["train"], count)}
        cached = _train(split_at_frozen(network())[1], some, short, state / f"short{count}", seed)
        stopped = _train(split_at_frozen(network())[1], some, settings.training, state / f"long{count}", seed)
        spent = computing * count / most + stopped.seconds
        ratio = fly.seconds / epochs * stopped.epochs / spent
        found[count] = cached.accuracy, stopped.accuracy, ratio
        print(
            f"seed {seed}: {count} views {cached.accuracy:.3f}, to early stopping {stopped.accuracy:.3f}, on "
            f"the fly {fly.accuracy:.3f}; {spent:.0f} s for {stopped.epochs} epochs and the views, "
            f"{fly.seconds / epochs:.1f} s an epoch on the fly; ratio {ratio:.1f}",
            flush=True,
        )
    return fly.accuracy, found


def _first(examples: Examples, count: int) -> Examples:
    return Examples([views[:count] for views in examples.inputs], examples.labels)


def _views(model: keras.Model, data: Data, folder: Path, views: int, seed: int) -> Data:
    trunk, _ = split_at_frozen(model)
    return {
        split: Examples(
            feature_cache.compute_views(
                trunk, one.inputs[0][0], folder / split, views=views, augmented=split == "train", seed=seed
            ),
            one.labels,
        )
        for split, one in data.items()
    }


def _train(model: keras.Model, data: Data, how: Training, state: Path, seed: int) -> Timed:
    begun = time.monotonic()
    history = fit(model, data["train"], data["valid"], how, state=state, seed=seed)
    return Timed(max(row["val_accuracy"] for row in history), time.monotonic() - begun, len(history))


def _spread(values: Sequence[float]) -> str:
    return f"mean {statistics.mean(values):.3f}, from {min(values):.3f} to {max(values):.3f}"


if __name__ == "__main__":
    main()
