"""The state that every stage of a run shares: its folder, settings, samples and decoded images."""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from tumorboard import storage
from tumorboard.config import Recipe
from tumorboard.data.class_matching import Matching
from tumorboard.data.image_cache import Decoded, Rows
from tumorboard.data.left_out import LeftOut
from tumorboard.data.manifest import Manifest, read_csv
from tumorboard.errors import DataError, RunFolderError, display
from tumorboard.predictions import Predictions
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder, read_json, reading

if TYPE_CHECKING:
    from tumorboard.audit.dataset_facts import DatasetFacts


def read_predictions(run: RunFolder, name: str, split: str) -> Predictions:
    """Read a model's predictions of a split.

    Raises:
        DataError: The file is missing or damaged.
    """
    path = run.predictions(name, split)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"expected predictions in {display(path)}, found none that can be read; "
            "delete the file and repeat the command"
        ) from error
    return Predictions.from_csv(text, str(path))


def read_manifest(run: RunFolder) -> Manifest:
    """Read all samples of a run, each assigned to a split.

    Raises:
        DataError: Other columns, or a row that does not fit them.
        RunFolderError: The file is missing or cannot be read.
    """
    try:
        return read_csv(run.manifest.read_text("utf-8"), str(run.manifest))
    except (OSError, UnicodeDecodeError) as error:
        raise RunFolderError(
            f"expected a readable manifest.csv in {display(run.root)}, found none; restore it"
        ) from error


def require_finished(run: RunFolder) -> None:
    """Raise RunFolderError unless the folder holds a run or a cross-validation that is finished."""
    if not run.metrics.is_file():
        raise RunFolderError(
            f"expected a finished run with metrics.json in {display(run.root)}, found none; "
            "repeat tumorboard train until it is done"
        )


def record_test_evaluation(run: RunFolder, images: int) -> None:
    """Record that test is being scored; each time makes its estimate a little less independent."""
    times = test_evaluations(run) if run.test_evaluations.is_file() else []
    times.append({"when": datetime.now(UTC).isoformat(timespec="seconds"), "images": images})
    storage.write_json(run.test_evaluations, times)


def test_evaluations(run: RunFolder) -> list[dict[str, Any]]:
    """Read when test was scored.

    Raises:
        RunFolderError: The file is missing or damaged.
    """
    with reading(run.test_evaluations):
        return list(json.loads(run.test_evaluations.read_text("utf-8")))


def read_seconds(run: RunFolder) -> dict[str, float]:
    """Read the time spent by phase, over all resumes.

    Raises:
        RunFolderError: The file is damaged.
    """
    recorded = read_json(run.phases) if os.path.isfile(run.phases) else {}  # no error at a name too long
    with reading(run.phases):
        return {title: float(seconds) for title, seconds in recorded.items()}


@dataclass(frozen=True)
class RunContext:
    """What every stage of a run needs.

    Args:
        run: The run folder, where every result goes.
        recipe: The settings.
        manifest: All samples, each assigned to a split.
        decoded: Their images, in the manifest's order.
        console: Where progress is shown.
        matching: How class folders were matched; None if that is no longer known.
        left_out: What among the images is no input.
        facts: For the audit, of the images as they were before splits and groups were assigned; None if they
            have to be gathered.
        track: One of `training.tracking.NEEDED`, which also shows the training curves; none if empty.
    """

    run: RunFolder
    recipe: Recipe
    manifest: Manifest
    decoded: Decoded
    console: Console
    matching: Matching | None = None
    left_out: tuple[LeftOut, ...] = ()
    facts: "DatasetFacts | None" = field(default=None, repr=False)
    track: str = ""
    _predictions: dict[tuple[str, str], Predictions] = field(default_factory=dict, repr=False)

    def images(self, split: str) -> Rows:
        """Return the split's images, uint8, in the order of `manifest.select(split)`."""
        index = np.flatnonzero([sample.split == split for sample in self.manifest.samples])
        return Rows(self.decoded.images, index)

    def seed(self, purpose: str) -> int:
        """Derive a seed below 2**20 from the recipe's, a different one for each purpose."""
        digest = hashlib.sha256(f"{self.recipe.seed} {purpose}".encode()).digest()
        return int.from_bytes(digest[:4], "big") % 2**20

    def predictions(self, name: str, split: str) -> Predictions:
        """Return predictions that were written, from memory if this process wrote or read them.

        Raises:
            DataError: The file is missing or damaged.
        """
        if (name, split) not in self._predictions:
            self._predictions[name, split] = read_predictions(self.run, name, split)
        return self._predictions[name, split]

    def write_predictions(self, name: str, split: str, predictions: Predictions) -> None:
        """Write predictions to the run folder, and keep them."""
        storage.write_text(self.run.predictions(name, split), predictions.to_csv())
        self._predictions[name, split] = predictions

    @contextlib.contextmanager
    def phase(self, title: str) -> Iterator[None]:
        """Show this block as a step of the run, and add its time to the run's record, interrupted or not."""
        start = time.monotonic()
        try:
            with self.console.phase(title):
                yield
        finally:
            self.add_seconds(title, time.monotonic() - start)

    def add_seconds(self, title: str, seconds: float) -> None:
        """Add time to a phase of the run's record."""
        with storage.exclusive(self.run.phases):  # other processes may train models of this run
            recorded = read_seconds(self.run)
            recorded[title] = round(recorded.get(title, 0.0) + seconds, 2)
            storage.write_json(self.run.phases, recorded)
