"""Further uses of the models of cross-validation folds: predict mirror images, and average them (bagging)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from tumorboard import run_folder, storage
from tumorboard.config import Recipe
from tumorboard.data import image_cache
from tumorboard.data.image_cache import Images
from tumorboard.data.manifest import write_csv
from tumorboard.data.pixels import Pixels
from tumorboard.ensembles.combination import CombinationRule
from tumorboard.ensembles.ensemble import build_ensemble
from tumorboard.models import saving
from tumorboard.models.inference import probabilities
from tumorboard.models.model_spec import ModelSpec
from tumorboard.predictions import Predictions
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder
from tumorboard.training.fit import prepare_backend
from tumorboard.workflows import fingerprint
from tumorboard.workflows.evaluate import evaluate_data
from tumorboard.workflows.export import add_joint_graph
from tumorboard.workflows.fold_results import BAGGED
from tumorboard.workflows.run_context import read_manifest, record_test_evaluation


@dataclass(frozen=True)
class _Mirrored:
    """Images that are flipped left to right when they are read."""

    images: Images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: slice) -> Pixels:
        flipped: Pixels = self.images[key][:, :, ::-1]
        return flipped


def predict_mirrored(run: RunFolder, recipe: Recipe, split: str, cache: Path, console: Console) -> None:
    """Write `predictions/<model>-<split>-mirrored.csv` for each member of the ensemble, unless it exists.

    Args:
        run: A finished run.
        recipe: Its settings.
        split: One of its splits.
        cache: The folder of the decoded images.
        console: Where progress is shown.
    """
    files = {name: run.predictions(name, f"{split}-mirrored") for name in recipe.ensemble.members}
    missing = {name: file for name, file in files.items() if not file.is_file()}
    if not missing:
        return
    prepare_backend(recipe.seed, fingerprint.threads(recipe))
    part = read_manifest(run).select(split)
    mirrored: Any = _Mirrored(image_cache.decode(part, cache, recipe.image).images)
    for name, file in missing.items():
        model, spec = saving.load(run.model(name))
        with console.task(f"{run.root.name}, {name}: predicting mirror images") as update:
            rows = probabilities(model, mirrored, update)
        storage.write_text(file, Predictions(part.ids, part.labels, spec.class_names, rows).to_csv())
        keras.utils.clear_session()  # or the graphs of all folds would stay in memory


def bag_folds(whole: RunFolder, shared: RunFolder, folds: Sequence[RunFolder], console: Console) -> None:
    """Average the folds' ensembles into one model, `bagged`, and score it on test.

    The folder can be used by `predict` and `evaluate`. No fold's models were trained or selected on test, so
    the test scores are unbiased. Every other image was used to train most of the models, so the average
    cannot be scored on train and validation, and nothing is chosen or recommended by it.

    Args:
        whole: The folder of the cross-validation.
        shared: Where its manifest is.
        folds: The finished runs of the folds.
        console: Where progress is shown.
    """
    run = RunFolder(whole.root / BAGGED)
    with run_folder.locked(run):
        if not saving.is_saved(run.model(BAGGED)):
            members = [saving.load(fold.model("ensemble")) for fold in folds]
            model, first = build_ensemble(BAGGED, members, CombinationRule("mean")), members[0][1]
            details = {"form": "mean", "members": [f"{fold.root.name}/ensemble" for fold in folds]}
            spec = ModelSpec(BAGGED, "ensemble", first.class_names, first.image, details)
            saving.save(model, spec, run.model(BAGGED))
        run_folder.write_checksums(run)
        known = read_manifest(shared)
        trained_on = tuple(  # the folds' models were trained on validation too
            replace(sample, split="train" if sample.split == "valid" else sample.split)
            for sample in known.samples
        )
        if not (run.root / "evaluations" / "manifest" / "metrics.json").is_file():
            seen = tuple(sample for sample in trained_on if sample.split != "test")
            storage.write_text(run.manifest, write_csv(replace(known, samples=seen)))  # test is new to it
            record_test_evaluation(run, len(known.select("test").samples))
            evaluate_data(run.root, shared.manifest, console=console)
        storage.write_text(run.manifest, write_csv(replace(known, samples=trained_on)))
        add_joint_graph(run, {}, (BAGGED,), BAGGED, console)
