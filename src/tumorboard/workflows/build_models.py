"""Fitting one model of a run: on images, on cached views of what is frozen, or on others' answers."""

import csv
import functools
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from tumorboard import storage
from tumorboard.config import Chained, Training
from tumorboard.data.image_cache import Images, Rows
from tumorboard.data.manifest import Manifest
from tumorboard.ensembles import boosting, chain, combination, ensemble
from tumorboard.errors import ModelError
from tumorboard.models import saving
from tumorboard.models.architectures import build
from tumorboard.models.inference import probabilities
from tumorboard.models.model_spec import Contract, split_at_frozen, trunks
from tumorboard.models.tta import both
from tumorboard.predictions import Predictions, aligned
from tumorboard.progress import Console, Update
from tumorboard.training import feature_cache, tracking
from tumorboard.training.checkpoint import Row
from tumorboard.training.feature_cache import Views
from tumorboard.training.fit import Examples, best_epoch, fit
from tumorboard.workflows.run_context import RunContext


def fit_images(context: RunContext, model: keras.Model, training: Training) -> list[Row]:
    """Train a model of the recipe, or a chain of such, on the run's images.

    What is frozen in it is run once when the recipe wants views; models that share it share its views.

    Args:
        context: The run.
        model: What to train, in place.
        training: How.
    """
    network = split_at_frozen(model)[1] if training.views else model
    examples: list[Examples] = []
    for split in ("train", "valid"):
        inputs: Views = [[context.images(split)]]
        if training.views:
            inputs = _all_views(context, model, training, split)
        examples.append(Examples(inputs, context.part(split).labels))
    train, valid = examples
    return fit_examples(context, network, training, train, valid, model.name)


def fit_examples(
    context: RunContext, network: keras.Model, training: Training, train: Examples, valid: Examples, name: str
) -> list[Row]:
    """Train a network of the run on arrays; the state is kept for a resume."""
    state, seed = context.run.state(name), context.seed(name)
    with tracking.listening(context.track, context.run.tracking(context.track), name) as listeners:
        return fit_shown(
            context.console,
            network,
            training,
            train,
            valid,
            name,
            state=state,
            seed=seed,
            listeners=listeners,
        )


def opinions(members: Sequence[Predictions]) -> Examples:
    """Members' probabilities as inputs of a joint head; rows are joined on the samples' ids."""
    joined = aligned(*members)
    return Examples([[one.probabilities] for one in joined], joined[0].labels)


def fit_shown(
    console: Console,
    network: keras.Model,
    training: Training,
    train: Examples,
    valid: Examples,
    name: str,
    *,
    state: Path,
    seed: int,
    listeners: Sequence[keras.callbacks.Callback] = (),
) -> list[Row]:
    """`training.fit.fit` with progress shown."""
    with console.task(f"{name}: training") as update:
        return fit(
            network,
            train,
            valid,
            training,
            state=state,
            seed=seed,
            on_epoch=lambda row: update(int(row["epoch"]), training.epochs, _note(row)),
            listeners=listeners,
        )


def save(
    context: RunContext,
    model: keras.Model,
    kind: str,
    training: Training,
    history: list[Row],
    details: Mapping[str, Any] = {},
) -> None:
    """Write the history and then the model; the state that a resume would need is deleted."""
    facts = {**details, "recipe": context.recipe.name, "seed": context.recipe.seed}
    if history:
        storage.write_text(context.run.history(model.name), _csv(history))
        facts |= {"epochs": len(history), "best_epoch": best_epoch(history, training)}
    contract = Contract(model.name, kind, context.manifest.class_names, context.recipe.image, facts)
    saving.save(model, contract, context.run.model(model.name))
    context.run.state(model.name).unlink(missing_ok=True)


def _all_views(context: RunContext, model: keras.Model, training: Training, split: str) -> Views:
    """Of every frozen part by itself, so that a chain finds those of its links; they share the disk."""
    found: list[Any] = []
    left = training.cache_gb
    for owner, trunk in trunks(model).items():
        link = owner.removeprefix(f"{model.name}_")
        views, size = feature_cache.affordable(trunk, len(context.images(split)), training.views, left)
        left -= size
        found += _views(context, model.name, link, trunk, split, views, training.views, size)
    return found


def _views(
    context: RunContext,
    name: str,
    link: str,
    trunk: keras.Model,
    split: str,
    views: int,
    wanted: int,
    size: float,
) -> Views:
    augmented = split == "train"
    described = context.recipe.models[link].model_dump(exclude={"training", "units", "dropout"})
    key = feature_cache.key(trunk, described, context.manifest.part(split).samples, augmented)
    if augmented and not (context.run.cache / key).exists():
        fewer = f" instead of {wanted}, for training.cache_gb" if views < wanted else ""
        context.console.say(f"{name}: keeping {views} views of what is frozen{fewer}: {size:.2f} GB of disk")
    return views_shown(
        context.console,
        f"{name}: frozen part of {split}",
        trunk,
        context.images(split),
        context.run.cache / key,
        views=views,
        augmented=augmented,
        seed=context.recipe.seed,
    )


def views_shown(
    console: Console,
    title: str,
    trunk: keras.Model,
    images: Images,
    folder: Path,
    *,
    views: int,
    augmented: bool,
    seed: int,
) -> Views:
    """`training.features.compute` with progress shown."""
    with console.task(title) as update:
        return feature_cache.compute(
            trunk,
            images,
            folder,
            views=views,
            augmented=augmented,
            seed=seed,
            on_batch=lambda done, total: update(done, total, ""),
        )


def _note(row: Row) -> str:
    return f"loss {row['loss']:.3f}, validation accuracy {row['val_accuracy']:.3f}"


def _csv(history: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(
        text, ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"], lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


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
        return _learn_chain(name, members, bench)
    if form == "boosted":
        part, images = bench.parts["valid"]
        rule = boosting.fit(boosting.embed(members, images), part.labels, len(part.class_names))
        return ensemble.build(name, members, rule), {"weights": list(rule.weights)}
    if form not in ensemble.TRAINED:
        rule = combination.fit(form, _member_predictions_of(members, bench, "valid"))
        return ensemble.build(name, members, rule), {"weights": list(rule.weights)}
    model = ensemble.build(name, members, combination.Rule(form), seed=bench.seed)
    train, valid = (opinions(_member_predictions_of(members, bench, split)) for split in ("train", "valid"))
    return model, _fit(bench, name, ensemble.head(model), HEAD, train, valid)


def _member_predictions_of(members: Sequence[Member], bench: Bench, split: str) -> list[Predictions]:
    """What each member says of a split."""
    part, images = bench.parts[split]
    found = []
    for model, contract in members:
        with bench.console.task(f"{contract.name}: predicting {split}") as update:
            rows = probabilities(model, images, functools.partial(_show, update))
        found.append(Predictions(part.ids, part.labels, contract.class_names, rows))
    return found


def _show(update: Update, done: int, total: int) -> None:
    update(done, total, "")


def _learn_chain(name: str, members: Sequence[Member], bench: Bench) -> tuple[keras.Model, Facts]:
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


def train_models(context: RunContext) -> None:
    """Make every model of the recipe, and what it says of train and validation; test stays closed."""
    for name in context.recipe.names:
        train_model(context, name)


def train_model(context: RunContext, name: str) -> None:
    """One model, and what it says of train and validation; those that it is made of must be there."""
    with context.phase(name):
        make(context, name)
        predict(context, name, "train", "valid")


def make(context: RunContext, name: str) -> None:
    """Make one model, unless it is made; those that it is made of must be there."""
    if not saving.is_saved(context.run.model(name)):
        {"ensemble": _ensemble, "chained": _chained}.get(name, _member)(context, name)


def predict(context: RunContext, name: str, *splits: str) -> None:
    """Write what the saved model says of each split, unless it is written."""
    missing = [split for split in splits if not context.run.predictions(name, split).is_file()]
    if not missing:
        return
    model, contract = saving.load(context.run.model(name))
    for split in missing:
        part = context.part(split)
        with context.console.task(f"{name}: predicting {split}") as update:
            rows = probabilities(model, context.images(split), lambda done, total: update(done, total, ""))
        text = Predictions(part.ids, part.labels, contract.class_names, rows).to_csv()
        storage.write_text(context.run.predictions(name, split), text)


def _member(context: RunContext, name: str) -> None:
    settings = context.recipe.models[name]
    model = _fresh(context, name, context.seed(name))
    history = fit_images(context, model, settings.training)
    if getattr(settings, "mirrored", False):
        model = both(model)
    save(context, model, settings.kind, settings.training, history)


def _ensemble(context: RunContext, name: str) -> None:
    settings = context.recipe.ensemble
    members = [saving.load(context.run.model(member)) for member in settings.members]
    rule = _rule(context, members)
    model = ensemble.build(name, members, rule, seed=context.seed(name))
    history: list[Row] = []
    if rule.form in ensemble.TRAINED:
        train, valid = (opinions(_opinions(context, split)) for split in ("train", "valid"))
        history = fit_examples(context, ensemble.head(model), settings.training, train, valid, name)
    details = {"form": rule.form, "members": list(settings.members), "weights": list(rule.weights)}
    save(context, model, "ensemble", settings.training, history, details)


def _opinions(context: RunContext, split: str) -> list[Predictions]:
    """What the ensemble's members say of a split."""
    for member in context.recipe.ensemble.members:
        predict(context, member, split)
    return [context.predictions(member, split) for member in context.recipe.ensemble.members]


def _rule(context: RunContext, members: Sequence[tuple[keras.Model, Contract]]) -> combination.Rule:
    """What validation says of the way to join the members, or what the recipe fixes."""
    settings = context.recipe.ensemble
    if settings.weights:
        return combination.Rule(settings.form, settings.weights)
    if settings.form == "boosted":
        embedded = boosting.embed(members, context.images("valid"))
        return boosting.fit(embedded, context.part("valid").labels, len(context.manifest.class_names))
    return combination.fit(settings.form, _opinions(context, "valid"))


def _chained(context: RunContext, name: str) -> None:
    settings = context.recipe.chained
    links = [_link(context, settings.first, "first link")]
    links += [_link(context, other, f"link {other}") for other in settings.also]
    model = chain.build(name, links, settings, context.seed(name))
    history = fit_images(context, model, settings.training)
    details = {"first": settings.first, "also": list(settings.also), "start": settings.start}
    save(context, model, "chained", settings.training, history, details)


def _link(context: RunContext, name: str, draw: str) -> tuple[keras.Model, Contract]:
    """A trained model, or a fresh one of the same build with first weights of its own."""
    trained, contract = saving.load(context.run.model(name))
    if context.recipe.chained.start == "fresh":
        return _fresh(context, name, context.seed(draw)), contract
    return trained, contract


def _fresh(context: RunContext, name: str, seed: int) -> keras.Model:
    """A model at its start; a backbone of random weights too is the same whatever was built before it."""
    keras.utils.set_random_seed(seed)
    return build(
        name, context.recipe.models[name], context.recipe.image, len(context.manifest.class_names), seed
    )
