"""What a run's models say of the mirror images of a part, so that folds can judge test-time augmentation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tumorboard import storage
from tumorboard.console import Console
from tumorboard.data.inputs import read_input
from tumorboard.data.manifest import Sample, read_csv
from tumorboard.data.modes import Pixels
from tumorboard.models import storing
from tumorboard.models.predicting import probabilities
from tumorboard.predictions import Predictions
from tumorboard.recipe import Image
from tumorboard.runfolder import RunFolder


@dataclass(frozen=True)
class _MirrorImages:
    """Read when they are asked for."""

    samples: Sequence[Sample]
    rule: Image

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: slice) -> Pixels:
        images = [read_input(sample.path, self.rule)[:, ::-1] for sample in self.samples[key]]
        return np.stack(images)


def predict(run: RunFolder, names: Sequence[str], split: str, console: Console) -> None:
    """Write `predictions/<model>-<split>-mirrored.csv` for each model, unless it is written."""
    part = None
    for name in names:
        file = run.predictions(name, f"{split}-mirrored")
        if file.is_file():
            continue
        part = part or read_csv(run.manifest.read_text("utf-8"), str(run.manifest)).part(split)
        model, contract = storing.load(run.model(name))
        images: Any = _MirrorImages(part.samples, contract.image)
        with console.task(f"{run.root.name}, {name}: predicting mirror images") as progress:
            rows = probabilities(model, images, lambda done, total: progress(done, total, ""))
        storage.write_text(file, Predictions(part.ids, part.labels, contract.class_names, rows).to_csv())
        keras.utils.clear_session()  # or the graphs of all folds stay in memory
