"""Fit a combination of saved models on train and validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tumorboard.config import Chained, Frames, Training
from tumorboard.data.image_cache import Rows
from tumorboard.data.manifest import DataSource, Manifest
from tumorboard.ensembles import boosting, combination
from tumorboard.ensembles.combination import CombinationRule
from tumorboard.ensembles.ensemble import DENSE_FORMS, build_chain, build_ensemble, dense_head
from tumorboard.errors import DataError, ModelError
from tumorboard.models.inference import probabilities
from tumorboard.models.model_spec import LoadedModel, ModelSpec, split_at_frozen, trunks
from tumorboard.predictions import Predictions
from tumorboard.progress import Console
from tumorboard.training.fit import Examples, best_epoch
from tumorboard.workflows.build_models import compute_views, fit_with_progress, stacked_probabilities
from tumorboard.workflows.prepare import decode_images, find_images

HEAD_TRAINING = Training()  # as in the study: Adam, at most 100 epochs, patience 20
CHAIN_TRAINING = Training(views=8)  # the same on cached views, where the models allow it


@dataclass(frozen=True)
class Fitting:
    """Train and valid with their images in the same order, a scratch folder, and the seed of all draws."""

    parts: Mapping[str, tuple[Manifest, Rows]]
    folder: Path
    console: Console
    seed: int


def fit(
    name: str, members: Sequence[LoadedModel], form: str, fitting: Fitting
) -> tuple[keras.Model, dict[str, Any]]:
    """Build and fit the model of a form in `combine.LEARNING`; returns it with facts for its spec.

    Raises:
        ModelError: The members cannot be combined in this form.
        TrainingError, StorageError, Interrupted: As for `train`.
    """

    def member_predictions(split: str) -> list[Predictions]:
        part, images = fitting.parts[split]
        predicted = []
        for model, spec in members:
            with fitting.console.task(f"{spec.name}: predicting {split}") as update:
                rows = probabilities(model, images, update)
            predicted.append(Predictions(part.ids, part.labels, spec.class_names, rows))
        return predicted

    if form == "chain":
        model = build_chain(name, members, Chained(training=CHAIN_TRAINING), fitting.seed)
        network, training, examples = _chain_examples(model, fitting)
    elif form in DENSE_FORMS:
        model = build_ensemble(name, members, CombinationRule(form), seed=fitting.seed)
        network, training = dense_head(model), HEAD_TRAINING
        examples = [stacked_probabilities(member_predictions(split)) for split in ("train", "valid")]
    else:
        part, images = fitting.parts["valid"]
        if form == "boosted":
            rule = boosting.fit(boosting.embed(members, images), part.labels, len(part.class_names))
        else:
            rule = combination.fit_rule(form, member_predictions("valid"))
        return build_ensemble(name, members, rule), {"weights": list(rule.weights)}
    train, valid = examples
    state = fitting.folder / "state.npz"
    history = fit_with_progress(
        fitting.console, network, training, train, valid, name, state=state, seed=fitting.seed
    )
    return model, {"epochs": len(history), "best_epoch": best_epoch(history, training)}


def _chain_examples(model: keras.Model, fitting: Fitting) -> tuple[keras.Model, Training, list[Examples]]:
    """What of a chain is fitted, and on what: on cached views of its frozen layers, where it has such."""
    try:
        network = split_at_frozen(model)[1]
    except ModelError:  # its first layers are trained too: every epoch runs the whole model
        whole = [Examples([[images]], part.labels) for part, images in fitting.parts.values()]
        return model, CHAIN_TRAINING, whole
    examples = []
    for split, (part, images) in fitting.parts.items():
        views: list[Any] = []
        for owner, trunk in trunks(model).items():
            title, folder = f"{owner}: frozen layers of {split}", fitting.folder / split / owner
            augmented = split == "train"
            views += compute_views(
                fitting.console, title, trunk, images, folder, CHAIN_TRAINING.views, augmented, fitting.seed
            )
        examples.append(Examples(views, part.labels))
    return network, CHAIN_TRAINING, examples


def read_parts(
    data: DataSource, shared: ModelSpec, folder: Path, console: Console, frames: Frames | None = None
) -> dict[str, tuple[Manifest, Rows]]:
    """Read train and valid as the models take them; labels are numbered as the models' classes are.

    Args:
        data: Labelled images.
        shared: What the models have in common.
        folder: Gets the decoded images.
        console: Where progress is shown.
        frames: The slices of volumes that are images; None for those of the models' training.

    Raises:
        DataError: The data cannot be used, has other classes, or lacks one of these splits.
        Interrupted: A signal asked to stop.
    """
    loaded = find_images(data, console, frames=shared.image.frames if frames is None else frames)
    manifest = loaded.manifest
    if sorted(manifest.class_names) != sorted(shared.class_names):
        expected, names = ", ".join(shared.class_names), ", ".join(manifest.class_names)
        raise DataError(
            f"expected the models' classes ({expected[:80]}) in {data.path.name[:40]}, found ({names[:80]}); "
            "match them with --class-map or --merge",
            [f"the models': {expected}", f"the data's: {names}"],
        )
    missing = [split for split in ("train", "valid") if not manifest.select(split).samples]
    if missing:
        raise DataError(
            f"expected the splits train and valid in {data.path.name[:60]}, found no {missing[0]}; "
            "give the manifest.csv of the run that the models come from"
        )
    samples = tuple(sample for sample in manifest.samples if sample.split in ("train", "valid"))
    whole = replace(manifest, samples=samples, class_names=shared.class_names)
    decoded = decode_images(replace(loaded, manifest=whole), folder, shared.image, console)
    rows = np.array([sample.split for sample in decoded.manifest.samples])
    return {
        split: (decoded.manifest.select(split), Rows(decoded.images, np.flatnonzero(rows == split)))
        for split in ("train", "valid")
    }
