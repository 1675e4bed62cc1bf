"""Make one model of several saved ones, which need not come from the same run."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tumorboard import progress, storage
from tumorboard.config import Chained, Training
from tumorboard.data.image_cache import Rows
from tumorboard.data.manifest import DataSource, Manifest
from tumorboard.ensembles import boosting, combination
from tumorboard.ensembles.combination import WEIGHTED_FORMS, CombinationRule
from tumorboard.ensembles.ensemble import (
    DENSE_FORMS,
    build_chain,
    build_ensemble,
    check_compatible,
    dense_head,
)
from tumorboard.errors import DataError, ModelError, UsageError
from tumorboard.models import saving
from tumorboard.models.inference import probabilities
from tumorboard.models.model_spec import LoadedModel, ModelSpec, split_at_frozen, trunks
from tumorboard.predictions import Predictions
from tumorboard.progress import Console
from tumorboard.training.fit import Examples, best_epoch, prepare_backend
from tumorboard.workflows.build_models import compute_views, fit_with_progress, stacked_probabilities
from tumorboard.workflows.prepare import decode_images, find_images

LEARNING = DENSE_FORMS | WEIGHTED_FORMS | {"stacked", "boosted", "chain"}
"""Forms that are fitted on data."""
FORMS = LEARNING | {"mean", "vote", "mirrored"}

HEAD_TRAINING = Training()  # as in the study: Adam, at most 100 epochs, patience 20
CHAIN_TRAINING = Training(views=8)  # the same on cached views, where the models allow it


@dataclass(frozen=True)
class _Fitting:
    """Train and valid with their images in the same order, a scratch folder, and the seed of all draws."""

    parts: Mapping[str, tuple[Manifest, Rows]]
    folder: Path
    console: Console
    seed: int


def combine(
    paths: Sequence[str | Path],
    out: str | Path,
    form: str,
    *,
    data: str | Path | DataSource | None = None,
    seed: int = 0,
    console: Console | None = None,
) -> ModelSpec:
    """Write an ensemble or a chain of saved models as `out`, with its spec beside it.

    Args:
        paths: Two `.keras` files or more, each with its `.json`; one is enough for `mirrored`.
        out: The new `.keras` file; the model is named after it.
        form: One of `FORMS`.
        data: Class folders or a manifest CSV with train and valid, for the forms in `LEARNING`; its classes
            must be the models'. Test images are not read.
        seed: Of first weights, order and views.
        console: Where progress is shown; quiet by default.

    Returns:
        The new model's spec.

    Raises:
        UsageError: An unknown form, an unusable `out`, or no data for a form that is fitted.
        ModelError: A model cannot be loaded, or two are incompatible; says why.
        DataError: The data cannot be used, or has other classes.
        TrainingError, StorageError, Interrupted: As for `train`; nothing is written then.
    """
    files, out, console = [Path(path) for path in paths], Path(out), console or Console(quiet=True)
    _check_request(files, out, form, data)
    prepare_backend(seed, threads=0)
    with progress.graceful():
        members = [saving.load_untrusted(file) for file in files]
        shared = check_compatible(members, form)
        stem = re.sub("[^a-z0-9]+", "_", out.stem.lower()).strip("_")
        name = stem if stem[:1].isalpha() else f"combined_{stem}".rstrip("_")  # the prefix of layer names
        facts: dict[str, Any] = {}
        if data is None or form not in LEARNING:
            model = build_ensemble(name, members, CombinationRule(form))
        else:
            try:
                out.parent.mkdir(parents=True, exist_ok=True)
                scratch = tempfile.TemporaryDirectory(
                    prefix=".combining-", dir=out.parent, ignore_cleanup_errors=True
                )
            except OSError as error:
                raise storage.storage_error(out, error) from error
            with scratch as folder:
                parts = _read_parts(DataSource.of(data), shared, Path(folder), console)
                model, facts = _fit(name, members, form, _Fitting(parts, Path(folder), console, seed))
        names = [spec.name for _, spec in members]
        details = {"form": form, "members": names, "seed": seed, **facts}
        kind = "chained" if form == "chain" else "ensemble"
        spec = ModelSpec(name, kind, shared.class_names, shared.image, details)
        saving.save(model, spec, out)
    return spec


def _check_request(paths: Sequence[Path], out: Path, form: str, data: str | Path | DataSource | None) -> None:
    if form not in FORMS:
        raise UsageError(f"expected a form ({', '.join(sorted(FORMS))}), found {form[:60]!r}")
    if out.suffix != ".keras":
        raise UsageError(f"expected --out to end in .keras, found {out.name[-60:]!r}")
    if out.resolve() in {path.resolve() for path in paths}:
        raise UsageError(f"expected --out to be a new file, found one of the models: {str(out)[-120:]}")
    if form in LEARNING and data is None:
        raise UsageError(f"form {form} is fitted on images: expected --data with train and valid, found none")


def _fit(
    name: str, members: Sequence[LoadedModel], form: str, fitting: _Fitting
) -> tuple[keras.Model, dict[str, Any]]:
    """Build and fit the model; returns it with facts for its spec."""

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


def _chain_examples(model: keras.Model, fitting: _Fitting) -> tuple[keras.Model, Training, list[Examples]]:
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


def _read_parts(
    data: DataSource, shared: ModelSpec, folder: Path, console: Console
) -> dict[str, tuple[Manifest, Rows]]:
    """Read train and valid as the models take them; labels are numbered as the models' classes are."""
    loaded = find_images(data, console, frames=shared.image.frames)
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
