"""What a run's models say of the mirror images of a part, so that folds can judge test-time augmentation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from tumorboard import storage
from tumorboard.console import Console
from tumorboard.data import cache
from tumorboard.data.modes import Pixels
from tumorboard.data.rows import Images
from tumorboard.models import storing
from tumorboard.models.predicting import probabilities
from tumorboard.pipeline import fingerprint
from tumorboard.pipeline.job import samples
from tumorboard.predictions import Predictions
from tumorboard.recipe import Recipe
from tumorboard.runfolder import RunFolder
from tumorboard.training import backend


@dataclass(frozen=True)
class _Mirrored:
    """Turned when they are asked for."""

    images: Images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: slice) -> Pixels:
        turned: Pixels = self.images[key][:, :, ::-1]
        return turned


def predict(run: RunFolder, recipe: Recipe, split: str, images: Path, console: Console) -> None:
    """Write `predictions/<model>-<split>-mirrored.csv` for each member of the ensemble, unless it is there.

    Args:
        run: A finished run.
        recipe: Its settings.
        split: One of its parts.
        images: Where decoded images lie.
        console: Where progress is shown.
    """
    files = {name: run.predictions(name, f"{split}-mirrored") for name in recipe.ensemble.members}
    missing = {name: file for name, file in files.items() if not file.is_file()}
    if not missing:
        return
    backend.prepare(recipe.seed, fingerprint.threads(recipe))
    part = samples(run).part(split)
    turned: Any = _Mirrored(cache.decode(part, images, recipe.image).images)
    for name, file in missing.items():
        model, contract = storing.load(run.model(name))
        with console.task(f"{run.root.name}, {name}: predicting mirror images") as progress:
            rows = probabilities(model, turned, lambda done, total: progress(done, total, ""))
        storage.write_text(file, Predictions(part.ids, part.labels, contract.class_names, rows).to_csv())
        keras.utils.clear_session()  # or the graphs of all folds stay in memory
