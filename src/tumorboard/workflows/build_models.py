"""Train the models of a run: each network, then the ensemble and the chain that are made of them.

A finished model is not trained again; an interrupted one goes on where it stopped.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from tumorboard import storage
from tumorboard.config import Training
from tumorboard.data.image_cache import Images
from tumorboard.ensembles import boosting, combination
from tumorboard.ensembles.ensemble import DENSE_FORMS, build_chain, build_ensemble, dense_head
from tumorboard.models import saving
from tumorboard.models.architectures import build_network
from tumorboard.models.inference import probabilities
from tumorboard.models.model_spec import LoadedModel, ModelSpec, split_at_frozen, trunks
from tumorboard.models.tta import mirror_averaged
from tumorboard.predictions import Predictions, aligned
from tumorboard.progress import Console
from tumorboard.run_folder import HISTORY_COLUMNS
from tumorboard.training import feature_cache, tracking
from tumorboard.training.checkpoint import EpochMetrics, read_state
from tumorboard.training.discriminant import fit_discriminant
from tumorboard.training.feature_cache import Views
from tumorboard.training.fit import Examples, best_epoch, fit
from tumorboard.workflows.run_context import RunContext


def train_models(context: RunContext) -> None:
    """Train every model of the recipe and predict train and validation; test is not opened."""
    for name in context.recipe.names:
        train_model(context, name)


def train_model(context: RunContext, name: str) -> None:
    """Train one model, unless it is saved, and predict train and validation; its members must be saved."""
    with context.phase(name):
        build_model(context, name)
        predict_splits(context, name, "train", "valid")


def build_model(context: RunContext, name: str) -> None:
    """Train and save one model, unless it is saved; its members must be saved."""
    if not saving.is_saved(context.run.model(name)):
        {"ensemble": _train_ensemble, "chained": _train_chain}.get(name, _train_network)(context, name)


def predict_splits(context: RunContext, name: str, *splits: str) -> LoadedModel | None:
    """Write the saved model's predictions of each split, unless they are written.

    Returns:
        The model that was loaded for it; None if nothing had to be predicted.
    """
    missing = [split for split in splits if not context.run.predictions(name, split).is_file()]
    if not missing:
        return None
    model, spec = saving.load(context.run.model(name))
    for split in missing:
        part = context.manifest.select(split)
        with context.console.task(f"{name}: predicting {split}") as update:
            rows = probabilities(model, context.images(split), update)
        predictions = Predictions(part.ids, part.labels, spec.class_names, rows)
        context.write_predictions(name, split, predictions)
    return model, spec


def _train_network(context: RunContext, name: str) -> None:
    settings = context.recipe.models[name]
    model = _initial_model(context, name, context.seed(name))
    history: list[EpochMetrics] = []
    if getattr(settings, "head", "") == "lda":
        examples = _examples(context, model, settings.training, "train")
        with context.console.task(f"{name}: training"):
            weights = fit_discriminant(examples, len(context.manifest.class_names), context.seed(name))
        model.layers[-1].set_weights(weights)
    else:
        history = _fit_on_images(context, model, settings.training)
    if getattr(settings, "mirrored", False):
        model = mirror_averaged(model)
    _save(context, model, settings.kind, settings.training, history)


def _train_ensemble(context: RunContext, name: str) -> None:
    settings, valid = context.recipe.ensemble, context.manifest.select("valid")
    members = [saving.load(context.run.model(member)) for member in settings.members]

    def member_predictions(split: str) -> list[Predictions]:
        for member in settings.members:
            predict_splits(context, member, split)
        return [context.predictions(member, split) for member in settings.members]

    if settings.weights:
        rule = combination.CombinationRule(settings.form, settings.weights)
    elif settings.form == "boosted":
        embedded = boosting.embed(members, context.images("valid"))
        rule = boosting.fit(embedded, valid.labels, len(valid.class_names))
    else:
        rule = combination.fit_rule(settings.form, member_predictions("valid"))
    model = build_ensemble(name, members, rule, seed=context.seed(name))
    history: list[EpochMetrics] = []
    if rule.form in DENSE_FORMS:
        head, training = dense_head(model), settings.training
        on_train, on_valid = (
            stacked_probabilities(member_predictions(split), context.manifest.groups)
            for split in ("train", "valid")
        )
        history = _fit_with_resume(context, head, training, on_train, on_valid, name)
    details = {"form": rule.form, "members": list(settings.members), "weights": list(rule.weights)}
    _save(context, model, "ensemble", settings.training, history, details)


def _train_chain(context: RunContext, name: str) -> None:
    settings = context.recipe.chained
    links: list[LoadedModel] = []
    for link, draw in [
        (settings.first, "first link"),
        *((other, f"link {other}") for other in settings.others),
    ]:
        trained, spec = saving.load(context.run.model(link))
        fresh = settings.start == "fresh"  # the same build with first weights of its own
        links.append((_initial_model(context, link, context.seed(draw)) if fresh else trained, spec))
    model = build_chain(name, links, settings, context.seed(name))
    history = _fit_on_images(context, model, settings.training)
    details = {"first": settings.first, "others": list(settings.others), "start": settings.start}
    _save(context, model, "chained", settings.training, history, details)


def _initial_model(context: RunContext, name: str, seed: int) -> keras.Model:
    """Build an untrained model; its random weights do not depend on what was built before it."""
    keras.utils.set_random_seed(seed)
    classes = len(context.manifest.class_names)
    return build_network(name, context.recipe.models[name], context.recipe.image, classes, seed)


def _fit_on_images(context: RunContext, model: keras.Model, training: Training) -> list[EpochMetrics]:
    """Fit a network or a chain of networks on the run's images.

    If the recipe asks for cached views, frozen layers are computed once; models that share them share the
    cached views.
    """
    network = split_at_frozen(model)[1] if training.views else model
    train, valid = (_examples(context, model, training, split) for split in ("train", "valid"))
    return _fit_with_resume(context, network, training, train, valid, model.name)


def _examples(context: RunContext, model: keras.Model, training: Training, split: str) -> Examples:
    """Return the images of a split, or what the frozen layers make of them if the recipe asks for views."""
    part = context.manifest.select(split)
    inputs: Views = [[context.images(split)]]
    if training.views:
        inputs = _cached_views(context, model, training, split)
    return Examples(inputs, part.labels, [sample.group for sample in part.samples])


def _cached_views(context: RunContext, model: keras.Model, training: Training, split: str) -> Views:
    """Compute the views of each frozen trunk, which a chain reuses from its links; all share `cache_gb`."""
    views: list[Any] = []
    left, augmented, images = training.cache_gb, split == "train", context.images(split)
    for owner, trunk in trunks(model).items():
        count, size = feature_cache.affordable_views(trunk, len(images), training.views, left)
        left -= size
        settings = context.recipe.models[owner.removeprefix(f"{model.name}_")]
        described = settings.model_dump(exclude={"training", "units", "dropout"})
        folder = context.run.cache / feature_cache.cache_key(
            trunk, described, context.manifest.select(split).samples, augmented
        )
        if augmented and not folder.exists():
            limited = f" of {training.views}, limited by training.cache_gb" if count < training.views else ""
            passes = f"caching {count} augmented passes{limited} through the frozen layers"
            context.console.print(f"{model.name}: {passes} ({size:.2f} GB)")
        title, seed = f"{model.name}: frozen layers of {split}", context.recipe.seed
        views += compute_views(context.console, title, trunk, images, folder, count, augmented, seed)
    return views


def compute_views(
    console: Console,
    title: str,
    trunk: keras.Model,
    images: Images,
    folder: Path,
    views: int,
    augmented: bool,
    seed: int,
) -> Views:
    """Compute cached views as `feature_cache.compute_views` does, with progress shown."""
    with console.task(title) as update:
        return feature_cache.compute_views(
            trunk, images, folder, views=views, augmented=augmented, seed=seed, on_batch=update
        )


def _fit_with_resume(
    context: RunContext, network: keras.Model, training: Training, train: Examples, valid: Examples, name: str
) -> list[EpochMetrics]:
    """Fit a network of the run; its state is kept so that a repeated command goes on from the last epoch."""
    state, seed = context.run.state(name), context.seed(name)
    with tracking.callbacks_for(context.track, context.run.tracking(context.track), name) as callbacks:
        return fit_with_progress(
            context.console,
            network,
            training,
            train,
            valid,
            name,
            state=state,
            seed=seed,
            callbacks=callbacks,
        )


def fit_with_progress(
    console: Console,
    network: keras.Model,
    training: Training,
    train: Examples,
    valid: Examples,
    name: str,
    *,
    state: Path,
    seed: int,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> list[EpochMetrics]:
    """Fit as `training.fit.fit` does, with progress shown."""
    with console.task(f"{name}: training", start=read_state(state).epoch) as update:

        def on_epoch(row: EpochMetrics) -> None:
            note = f"loss {row['loss']:.3f}, val. accuracy {row['val_accuracy']:.3f}"
            update(int(row["epoch"]), training.epochs, note)

        return fit(
            network, train, valid, training, state=state, seed=seed, on_epoch=on_epoch, listeners=callbacks
        )


def stacked_probabilities(members: Sequence[Predictions], groups: Mapping[str, str] = {}) -> Examples:
    """Make members' probabilities the inputs of a trained head; rows are joined on the samples' ids.

    Args:
        members: The predictions of each member.
        groups: Group (patient) by id, of the samples that have one.
    """
    joined = aligned(*members)
    of_rows = [groups.get(name, "") for name in joined[0].ids]
    return Examples([[predictions.probabilities] for predictions in joined], joined[0].labels, of_rows)


def _save(
    context: RunContext,
    model: keras.Model,
    kind: str,
    training: Training,
    history: list[EpochMetrics],
    details: Mapping[str, Any] = {},
) -> None:
    """Write the history, then the model; the state that a resume would need is deleted."""
    facts = {**details, "recipe": context.recipe.name, "seed": context.recipe.seed}
    if history:
        text = io.StringIO()
        writer = csv.DictWriter(text, HISTORY_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        storage.write_text(context.run.history(model.name), text.getvalue())
        facts |= {"epochs": len(history), "best_epoch": best_epoch(history, training)}
    spec = ModelSpec(model.name, kind, context.manifest.class_names, context.recipe.image, facts)
    saving.save(model, spec, context.run.model(model.name))
    context.run.state(model.name).unlink(missing_ok=True)
