"""Compare settings of the custom network by validation accuracy, log loss and processor time.

    python experiments/custom_settings.py DATA VARIANT... [--seeds 3] [--recipe default]

A variant is settings of the recipe, such as "models.custom.training.batch=16 image.size=128"; "" is the
recipe as it is. Each is trained as `tumorboard train` does it, on train, and predicts valid; images of
test are not read. For folds, DATA is a manifest of `tumorboard split --folds`. The processor time is
that of the median epoch; unlike seconds it depends little on what else is running.
"""

import argparse
import os
import statistics
import tempfile
import time
import tomllib
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the package does, if it is imported before Keras

import keras
import numpy as np

from tumorboard import config
from tumorboard.config import Recipe
from tumorboard.data import image_cache, manifest
from tumorboard.data.manifest import Manifest
from tumorboard.evaluation.metrics import accuracy, log_loss
from tumorboard.models.architectures import build_network
from tumorboard.models.model_spec import split_at_frozen
from tumorboard.models.tta import mirror_averaged
from tumorboard.search_space import with_values
from tumorboard.training.fit import Examples, fit, prepare_backend

Parts = dict[str, tuple[np.ndarray, Manifest]]
"""Images (N, S, S, 3) and samples of train and valid."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("variants", nargs="+", help='such as "models.custom.training.batch=16"')
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipe", default="default")
    options = parser.parse_args()
    recipe = config.load(options.recipe)
    recipes = {text or options.recipe: variant(recipe, text) for text in options.variants}
    prepare_backend(0, recipe.threads or len(os.sched_getaffinity(0)))
    for text, changed in recipes.items():
        parts = read(options.data, changed)
        rows = []
        for seed in range(options.seeds):
            rows.append(trained(changed, parts, seed))
            share, loss, seconds = rows[-1]
            print(f"{text}, seed {seed}: {share:.3f}, log loss {loss:.3f}, {seconds:.2f} s", flush=True)
        shares, losses, seconds = zip(*rows, strict=True)
        spread = f", SD {statistics.stdev(shares):.3f}" if len(shares) > 1 else ""
        print(
            f"{text}: n = {len(parts['valid'][0])}, accuracy {statistics.mean(shares):.3f}{spread}, log loss "
            f"{statistics.mean(losses):.3f}, {statistics.median(seconds):.2f} s of processor time per epoch",
            flush=True,
        )


def variant(recipe: Recipe, text: str) -> Recipe:
    """Change settings of a recipe, `NAME=VALUE` with a value as in TOML."""
    settings = dict(part.split("=", 1) for part in text.split())
    return with_values(recipe, {name: tomllib.loads(f"v = {value}")["v"] for name, value in settings.items()})


def read(data: Path, recipe: Recipe) -> Parts:
    """Decode train and valid."""
    known, parts = manifest.load(data).manifest, {}
    with tempfile.TemporaryDirectory() as folder:
        for split in ("train", "valid"):
            decoded = image_cache.decode(known.select(split), Path(folder), recipe.image, skip_bad=True)
            parts[split] = np.array(decoded.images[:]), decoded.manifest
    return parts


def trained(recipe: Recipe, parts: Parts, seed: int) -> tuple[float, float, float]:
    """Train one network; return its accuracy and log loss on valid, and the time of its median epoch."""
    settings, times = recipe.models["custom"], [time.process_time()]
    keras.utils.set_random_seed(seed)
    model = build_network("custom", settings, recipe.image, len(parts["train"][1].class_names), seed)
    trunk, tail = split_at_frozen(model)
    train, valid = (
        Examples(
            [[trunk.predict(images, verbose=0).astype(np.float16)]],
            known.labels,
            [sample.group for sample in known.samples],
        )
        for images, known in parts.values()
    )
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder, "state.npz")
        clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: times.append(time.process_time()))
        fit(tail, train, valid, settings.training, state=state, seed=seed, listeners=[clock])
    images, labels = parts["valid"][0], valid.labels
    network = mirror_averaged(model) if settings.mirrored else model
    probabilities = network.predict(images, verbose=0)
    keras.utils.clear_session()  # or the graphs of all trainings would stay in memory
    share = accuracy(labels, probabilities.argmax(axis=1))
    return share, log_loss(labels, probabilities), float(np.median(np.diff(times)))


if __name__ == "__main__":
    main()
