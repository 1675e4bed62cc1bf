"""The board: each network is trained, then the ensemble and the chain are made of them.

A model that is finished is not trained again; one that was interrupted goes on where it stopped.
"""

from collections.abc import Sequence

import keras

from tumorboard import storage
from tumorboard.combining import boosting, chain, ensemble, rules
from tumorboard.models import storing
from tumorboard.models.build import build
from tumorboard.models.contract import Contract
from tumorboard.models.mirror import both
from tumorboard.models.predicting import probabilities
from tumorboard.pipeline.fitting import fit_examples, fit_images, opinions, save
from tumorboard.pipeline.job import Job
from tumorboard.predictions import Predictions
from tumorboard.training.resume import Row


def convene(job: Job) -> None:
    """Make every model of the recipe, and what it says of train and validation; test stays closed."""
    for name in job.recipe.names:
        admit(job, name)


def admit(job: Job, name: str) -> None:
    """One model, and what it says of train and validation; those that it is made of must be there."""
    with job.phase(name):
        make(job, name)
        predict(job, name, "train", "valid")


def make(job: Job, name: str) -> None:
    """Make one model, unless it is made; those that it is made of must be there."""
    if not storing.is_saved(job.run.model(name)):
        {"ensemble": _ensemble, "chained": _chained}.get(name, _member)(job, name)


def predict(job: Job, name: str, *splits: str) -> None:
    """Write what the saved model says of each split, unless it is written."""
    missing = [split for split in splits if not job.run.predictions(name, split).is_file()]
    if not missing:
        return
    model, contract = storing.load(job.run.model(name))
    for split in missing:
        part = job.part(split)
        with job.console.task(f"{name}: predicting {split}") as progress:
            rows = probabilities(model, job.images(split), lambda done, total: progress(done, total, ""))
        text = Predictions(part.ids, part.labels, contract.class_names, rows).to_csv()
        storage.write_text(job.run.predictions(name, split), text)


def _member(job: Job, name: str) -> None:
    settings = job.recipe.models[name]
    model = _fresh(job, name, job.seed(name))
    history = fit_images(job, model, settings.training)
    if getattr(settings, "mirrored", False):
        model = both(model)
    save(job, model, settings.kind, settings.training, history)


def _ensemble(job: Job, name: str) -> None:
    settings = job.recipe.ensemble
    members = [storing.load(job.run.model(member)) for member in settings.members]
    rule = _rule(job, members)
    model = ensemble.build(name, members, rule, seed=job.seed(name))
    history: list[Row] = []
    if rule.form in ensemble.TRAINED:
        train, valid = (opinions(_opinions(job, split)) for split in ("train", "valid"))
        history = fit_examples(job, ensemble.head(model), settings.training, train, valid, name)
    details = {"form": rule.form, "members": list(settings.members), "weights": list(rule.weights)}
    save(job, model, "ensemble", settings.training, history, details)


def _opinions(job: Job, split: str) -> list[Predictions]:
    """What the ensemble's members say of a split."""
    for member in job.recipe.ensemble.members:
        predict(job, member, split)
    return [job.predictions(member, split) for member in job.recipe.ensemble.members]


def _rule(job: Job, members: Sequence[tuple[keras.Model, Contract]]) -> rules.Rule:
    """What validation says of the way to join the members, or what the recipe fixes."""
    settings = job.recipe.ensemble
    if settings.weights:
        return rules.Rule(settings.form, settings.weights)
    if settings.form == "boosted":
        embedded = boosting.embed(members, job.images("valid"))
        return boosting.fit(embedded, job.part("valid").labels, len(job.manifest.class_names))
    return rules.fit(settings.form, _opinions(job, "valid"))


def _chained(job: Job, name: str) -> None:
    settings = job.recipe.chained
    links = [_link(job, settings.first, "first link")]
    links += [_link(job, other, f"link {other}") for other in settings.also]
    model = chain.build(name, links, settings, job.seed(name))
    history = fit_images(job, model, settings.training)
    details = {"first": settings.first, "also": list(settings.also), "start": settings.start}
    save(job, model, "chained", settings.training, history, details)


def _link(job: Job, name: str, draw: str) -> tuple[keras.Model, Contract]:
    """A trained model, or a fresh one of the same build with first weights of its own."""
    trained, contract = storing.load(job.run.model(name))
    if job.recipe.chained.start == "fresh":
        return _fresh(job, name, job.seed(draw)), contract
    return trained, contract


def _fresh(job: Job, name: str, seed: int) -> keras.Model:
    """A model at its start; a backbone of random weights too is the same whatever was built before it."""
    keras.utils.set_random_seed(seed)
    return build(name, job.recipe.models[name], job.recipe.image, len(job.manifest.class_names), seed)
