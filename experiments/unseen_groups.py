"""Compare ways to train the pretrained model on folds that hold out whole groups (patients, series).

    tumorboard split DATA --keep-test --folds 5 --group-by-name REGEX --out folds/manifest.csv
    python experiments/unseen_groups.py folds [--ways probe default lp-ft] [--only 1 2]

Every image of the manifests is predicted once, by a model trained on the other folds; the data's own test
split is in none of them. The frozen layers are computed once for all folds.

- `probe`: recipe `probe`, linear discriminant analysis on the embeddings of the frozen backbone.
- `default`: recipe `default`, whose upper stages are trained behind a new head.
- `lp-ft`: the upper stages trained behind the head of `probe` (Kumar et al. 2022), and averages of the
  weights before and after it (Wortsman et al. 2022); the number is the weight of those after it.
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as the package does, if it is imported before Keras

import keras
import numpy as np
from keras import layers

from tumorboard import config
from tumorboard.config import Recipe
from tumorboard.data import image_cache, manifest
from tumorboard.data.manifest import Manifest
from tumorboard.evaluation.intervals import share
from tumorboard.evaluation.metrics import accuracy, log_loss, losses
from tumorboard.evaluation.significance import grouped_permutation_test
from tumorboard.models.architectures import build_network
from tumorboard.models.model_spec import split_at_frozen
from tumorboard.training.discriminant import fit_discriminant
from tumorboard.training.feature_cache import Views, compute_views
from tumorboard.training.fit import Examples, fit, prepare_backend

MIXTURES = (0.25, 0.5, 0.75, 1.0)
SEED = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folds", type=Path, help="folder of manifest-fold1.csv, ...")
    parser.add_argument("--ways", nargs="+", default=["probe", "default", "lp-ft"])
    parser.add_argument("--only", type=int, nargs="+", help="numbers of folds, from 1")
    options = parser.parse_args()
    prepare_backend(SEED, len(os.sched_getaffinity(0)))
    manifests = [manifest.load(file).manifest for file in sorted(options.folds.glob("*-fold*.csv"))]
    recipes = {name: config.load(name) for name in ("probe", "default")}
    labels: list[np.ndarray] = []
    groups: list[str] = []
    predicted: dict[str, list[np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as folder:
        decoded = image_cache.decode(manifests[0], Path(folder), recipes["default"].image, skip_bad=True)
        whole = decoded.manifest
        views = {}
        for name, recipe in recipes.items():
            trunk, _ = split_at_frozen(network(recipe, whole))
            for augmented in (True, False):
                place = Path(folder, f"{name}-{augmented}")
                place.mkdir()
                views[name, augmented] = compute_views(
                    trunk, decoded.images, place, views=8, augmented=augmented, seed=SEED
                )
        for number, fold in enumerate(manifests, start=1):
            if options.only and number not in options.only:
                continue
            ids = {sample.id for sample in fold.select("test").samples}
            test = np.array([sample.id in ids for sample in whole.samples])
            labels.append(whole.labels[test])
            groups += [sample.group or sample.id for sample in whole.samples if sample.id in ids]
            for way in options.ways:
                recipe = recipes["probe" if way == "probe" else "default"]
                for name, rows in predict(way, recipe, views, whole, test).items():
                    predicted.setdefault(name, []).append(rows)
                    show(f"fold {number}, {name}", rows, labels[-1])
    known, of_group = np.concatenate(labels), np.unique(groups, return_inverse=True)[1]
    every = {name: np.concatenate(folds) for name, folds in predicted.items()}
    if {"default", "probe"} <= every.keys():
        every["mean of default and probe"] = (every["default"] + every["probe"]) / 2
    first = next(iter(every.values()))
    for name, rows in every.items():
        show(name, rows, known)
        hits, reference = (np.equal(p.argmax(axis=1), known).astype(float) for p in (rows, first))
        estimate = share(hits, of_group)
        p_values = [
            grouped_permutation_test(difference, of_group)
            for difference in (hits - reference, losses(known, rows) - losses(known, first))
        ]
        print(
            f"  95% CI {estimate.low:.3f}-{estimate.high:.3f} over {of_group.max() + 1} groups; against the "
            f"first way p = {p_values[0]:.2f} (accuracy), {p_values[1]:.2f} (log loss)"
        )


def network(recipe: Recipe, whole: Manifest) -> keras.Model:
    """Build the untrained pretrained model of a recipe."""
    keras.utils.set_random_seed(SEED)
    settings = recipe.models["pretrained"]
    return build_network("pretrained", settings, recipe.image, len(whole.class_names), SEED)


def predict(
    way: str, recipe: Recipe, views: dict[tuple[str, bool], Views], whole: Manifest, test: np.ndarray
) -> dict[str, np.ndarray]:
    """Train on the other folds; return the (N, C) probabilities of the test fold by name of the model."""
    name = "probe" if way == "probe" else "default"
    groups = [sample.group for sample, held_out in zip(whole.samples, test, strict=True) if not held_out]

    def examples(augmented: bool, rows: np.ndarray) -> Examples:
        arrays = [np.asarray(view[rows]) for view in views[name, augmented][0]]
        return Examples([arrays], whole.labels[rows], groups if rows is not test else ())

    train, valid = examples(True, ~test), examples(False, test)
    _, tail = split_at_frozen(network(recipe, whole))
    if way == "probe":
        tail.layers[-1].set_weights(fit_discriminant(train, len(whole.class_names), SEED))
        return {way: probabilities(tail, valid)}
    mixtures: tuple[float, ...] = (1.0,)
    if way == "lp-ft":
        tail, mixtures = behind_discriminant(tail, train, recipe, len(whole.class_names)), MIXTURES
    before = tail.get_weights()
    with tempfile.TemporaryDirectory() as folder:
        training = recipe.models["pretrained"].training
        fit(tail, train, valid, training, state=Path(folder, "state.npz"), seed=SEED)
    after, rows = tail.get_weights(), {}
    for mixture in mixtures:
        mixed = [(1 - mixture) * first + mixture * last for first, last in zip(before, after, strict=True)]
        tail.set_weights(mixed if mixture < 1 else after)
        rows[f"{way} {mixture}" if way == "lp-ft" else way] = probabilities(tail, valid)
    return rows


def behind_discriminant(tail: keras.Model, train: Examples, recipe: Recipe, classes: int) -> keras.Model:
    """Build the upper stages with a linear head that the untrained stages' embeddings of train fit."""
    inputs = x = keras.Input(tail.input_shape[1:])
    for layer in tail.layers[1:]:
        x = layer(x)
        if layer.name == "pretrained_pool":
            break
    embed = keras.Model(inputs, x)
    embedded = [[probabilities(embed, Examples([[view]], train.labels)) for view in train.inputs[0]]]
    weights = fit_discriminant(Examples(embedded, train.labels, train.groups), classes, SEED)
    x = layers.Dropout(recipe.models["pretrained"].dropout, seed=SEED + 2)(x)
    model = keras.Model(inputs, layers.Dense(classes, activation="softmax")(x))
    model.layers[-1].set_weights(weights)
    return model


def probabilities(model: keras.Model, examples: Examples) -> np.ndarray:
    """Predict the first view of each image."""
    view = examples.inputs[0][0]
    parts = (np.asarray(view[start : start + 64], np.float32) for start in range(0, len(view), 64))
    return np.concatenate([model.predict_on_batch(part) for part in parts])


def show(name: str, rows: np.ndarray, labels: np.ndarray) -> None:
    right, loss = accuracy(labels, rows.argmax(axis=1)), log_loss(labels, rows)
    print(f"{name}: n = {len(labels)}, accuracy {right:.3f}, log loss {loss:.3f}", flush=True)


if __name__ == "__main__":
    main()
