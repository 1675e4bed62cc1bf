"""An ensemble or a chain of saved models, fitted on images of any origin."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from tumorboard.combining import boosting, chain, ensemble, rules
from tumorboard.console import Console, Update
from tumorboard.data.manifest import Manifest
from tumorboard.data.rows import Rows
from tumorboard.errors import ModelError
from tumorboard.models.contract import Contract, split_at_frozen, trunks
from tumorboard.models.predicting import probabilities
from tumorboard.pipeline.fitting import fit_shown, opinions, views_shown
from tumorboard.predictions import Predictions
from tumorboard.recipe import Chained, Training
from tumorboard.training.fit import Examples, best_epoch

HEAD = Training()  # the study's: Adam, at most 100 epochs, patience 20
CHAIN = Training(views=8)  # the same on cached views, where the models allow it

Member = tuple[keras.Model, Contract]
Part = tuple[Manifest, Rows]
Facts = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """What is needed to learn.

    Args:
        parts: Train and valid: their samples, and the images in the same order.
        folder: For what is kept for a while.
        console: Where progress is shown.
        seed: Of first weights, order and views.
    """

    parts: Mapping[str, Part]
    folder: Path
    console: Console
    seed: int


def learn(name: str, members: Sequence[Member], form: str, bench: Bench) -> tuple[keras.Model, Facts]:
    """Build and fit a model of several.

    Args:
        name: The prefix of all layer names.
        members: Saved models that fit together.
        form: One of `combine.LEARNING`.
        bench: What it learns from.

    Returns:
        The model, and what its contract should tell of how it was made.

    Raises:
        ModelError: A chain's first link has no embedding.
        TrainingError, StorageError, Interrupted: The fit cannot go on.
    """
    if form == "chain":
        return _chained(name, members, bench)
    if form == "boosted":
        part, images = bench.parts["valid"]
        rule = boosting.fit(boosting.embed(members, images), part.labels, len(part.class_names))
        return ensemble.build(name, members, rule), {"weights": list(rule.weights)}
    if form not in ensemble.TRAINED:
        rule = rules.fit(form, _opinions(members, bench, "valid"))
        return ensemble.build(name, members, rule), {"weights": list(rule.weights)}
    model = ensemble.build(name, members, rules.Rule(form), seed=bench.seed)
    train, valid = (opinions(_opinions(members, bench, split)) for split in ("train", "valid"))
    return model, _fit(bench, name, ensemble.head(model), HEAD, train, valid)


def _opinions(members: Sequence[Member], bench: Bench, split: str) -> list[Predictions]:
    """What each member says of a split."""
    part, images = bench.parts[split]
    found = []
    for model, contract in members:
        with bench.console.task(f"{contract.name}: predicting {split}") as progress:
            rows = probabilities(model, images, functools.partial(_show, progress))
        found.append(Predictions(part.ids, part.labels, contract.class_names, rows))
    return found


def _show(progress: Update, done: int, total: int) -> None:
    progress(done, total, "")


def _chained(name: str, members: Sequence[Member], bench: Bench) -> tuple[keras.Model, Facts]:
    model = chain.build(name, members, Chained(training=CHAIN), bench.seed)
    try:
        network = split_at_frozen(model)[1]
    except ModelError:  # something in it learns from the first layer on: every epoch runs the whole
        parts = [Examples([[images]], part.labels) for part, images in bench.parts.values()]
        return model, _fit(bench, name, model, CHAIN, *parts)
    parts = [_cached(bench, model, split) for split in bench.parts]
    return model, _fit(bench, name, network, CHAIN, *parts)


def _cached(bench: Bench, model: keras.Model, split: str) -> Examples:
    """Views of every frozen part by itself, whose moves are then joined into one interpolation."""
    part, images = bench.parts[split]
    found: list[Any] = []
    for owner, trunk in trunks(model).items():
        found += views_shown(
            bench.console,
            f"{owner}: frozen part of {split}",
            trunk,
            images,
            bench.folder / split / owner,
            views=CHAIN.views,
            augmented=split == "train",
            seed=bench.seed,
        )
    return Examples(found, part.labels)


def _fit(
    bench: Bench, name: str, network: keras.Model, training: Training, train: Examples, valid: Examples
) -> Facts:
    state = bench.folder / "state.npz"
    history = fit_shown(bench.console, network, training, train, valid, name, state=state, seed=bench.seed)
    return {"epochs": len(history), "best_epoch": best_epoch(history, training)}
