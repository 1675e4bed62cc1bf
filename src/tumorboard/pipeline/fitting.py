"""Fitting one model of a run: on images, on cached views of what is frozen, or on others' answers."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from tumorboard import storage
from tumorboard.console import Console
from tumorboard.data.rows import Images
from tumorboard.models import storing
from tumorboard.models.contract import Contract, split_at_frozen, trunks
from tumorboard.pipeline.job import Job
from tumorboard.predictions import Predictions, aligned
from tumorboard.recipe import Training
from tumorboard.training import features, tracking
from tumorboard.training.features import Views
from tumorboard.training.fit import Examples, best_epoch, fit
from tumorboard.training.resume import Row


def fit_images(job: Job, model: keras.Model, training: Training) -> list[Row]:
    """Train a model of the recipe, or a chain of such, on the run's images.

    What is frozen in it is run once when the recipe wants views; models that share it share its views.

    Args:
        job: The run.
        model: What to train, in place.
        training: How.
    """
    network = split_at_frozen(model)[1] if training.views else model
    examples: list[Examples] = []
    for split in ("train", "valid"):
        inputs: Views = [[job.images(split)]]
        if training.views:
            inputs = _all_views(job, model, training, split)
        examples.append(Examples(inputs, job.part(split).labels))
    train, valid = examples
    return fit_examples(job, network, training, train, valid, model.name)


def fit_examples(
    job: Job, network: keras.Model, training: Training, train: Examples, valid: Examples, name: str
) -> list[Row]:
    """Train a network of the run on arrays; the state is kept for a resume."""
    state, seed = job.run.state(name), job.seed(name)
    with tracking.listening(job.track, job.run.tracking(job.track), name) as listeners:
        return fit_shown(
            job.console, network, training, train, valid, name, state=state, seed=seed, listeners=listeners
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
    with console.task(f"{name}: training") as progress:
        return fit(
            network,
            train,
            valid,
            training,
            state=state,
            seed=seed,
            on_epoch=lambda row: progress(int(row["epoch"]), training.epochs, _note(row)),
            listeners=listeners,
        )


def save(
    job: Job,
    model: keras.Model,
    kind: str,
    training: Training,
    history: list[Row],
    details: Mapping[str, Any] = {},
) -> None:
    """Write the history and then the model; the state that a resume would need is deleted."""
    facts = {**details, "recipe": job.recipe.name, "seed": job.recipe.seed}
    if history:
        storage.write_text(job.run.history(model.name), _csv(history))
        facts |= {"epochs": len(history), "best_epoch": best_epoch(history, training)}
    contract = Contract(model.name, kind, job.manifest.class_names, job.recipe.image, facts)
    storing.save(model, contract, job.run.model(model.name))
    job.run.state(model.name).unlink(missing_ok=True)


def _all_views(job: Job, model: keras.Model, training: Training, split: str) -> Views:
    """Of every frozen part by itself, so that a chain finds those of its links; they share the disk."""
    found: list[Any] = []
    left = training.cache_gb
    for owner, trunk in trunks(model).items():
        link = owner.removeprefix(f"{model.name}_")
        views, size = features.affordable(trunk, len(job.images(split)), training.views, left)
        left -= size
        found += _views(job, model.name, link, trunk, split, views, training.views, size)
    return found


def _views(
    job: Job, name: str, link: str, trunk: keras.Model, split: str, views: int, wanted: int, size: float
) -> Views:
    augmented = split == "train"
    described = job.recipe.models[link].model_dump(exclude={"training", "units", "dropout"})
    key = features.key(trunk, described, job.manifest.part(split).samples, augmented)
    if augmented and not (job.run.cache / key).exists():
        fewer = f" instead of {wanted}, for training.cache_gb" if views < wanted else ""
        job.console.say(f"{name}: keeping {views} views of what is frozen{fewer}: {size:.2f} GB of disk")
    return views_shown(
        job.console,
        f"{name}: frozen part of {split}",
        trunk,
        job.images(split),
        job.run.cache / key,
        views=views,
        augmented=augmented,
        seed=job.recipe.seed,
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
    with console.task(title) as progress:
        return features.compute(
            trunk,
            images,
            folder,
            views=views,
            augmented=augmented,
            seed=seed,
            on_batch=lambda done, total: progress(done, total, ""),
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
