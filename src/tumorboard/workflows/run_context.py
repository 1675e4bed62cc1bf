"""One run in hand: its folder, its settings, its decoded images."""

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tumorboard import storage
from tumorboard.config import Recipe
from tumorboard.data.class_matching import Matching
from tumorboard.data.image_cache import Decoded, Rows
from tumorboard.data.manifest import Manifest, read_csv
from tumorboard.errors import DataError, RunFolderError
from tumorboard.predictions import Predictions
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder


def predictions(run: RunFolder, name: str, split: str) -> Predictions:
    """What a model of a run was found to say of a split.

    Raises:
        DataError: The file is missing or damaged.
    """
    path = run.predictions(name, split)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"expected predictions in {storage.shown(path)}, found none that can be read; "
            "delete the file and repeat the command"
        ) from error
    return Predictions.from_csv(text, str(path))


def samples(run: RunFolder) -> Manifest:
    """All samples of a run, every one in a split.

    Raises:
        DataError: Other columns, or a row that does not fit them.
        RunFolderError: The file is missing or cannot be read.
    """
    try:
        return read_csv(run.manifest.read_text("utf-8"), str(run.manifest))
    except (OSError, UnicodeDecodeError) as error:
        raise RunFolderError(
            f"expected a readable manifest.csv in {storage.shown(run.root)}, found none; restore it"
        ) from error


@dataclass(frozen=True)
class RunContext:
    """What every stage of a run needs.

    Args:
        run: Where everything goes.
        recipe: The settings.
        manifest: All samples, every one in a split.
        decoded: Their images, in the manifest's order.
        console: Where progress is shown.
        matching: How class folders were matched; None if nobody knows any more.
        track: What shows the trainings elsewhere, one of `training.tracking.NEEDED`; nothing if empty.
    """

    run: RunFolder
    recipe: Recipe
    manifest: Manifest
    decoded: Decoded
    console: Console
    matching: Matching | None = None
    track: str = ""

    def images(self, split: str) -> Rows:
        """The split's images, uint8, in the order of `part`."""
        index = np.flatnonzero([sample.split == split for sample in self.manifest.samples])
        return Rows(self.decoded.images, index)

    def part(self, split: str) -> Manifest:
        """The split's samples."""
        return self.manifest.part(split)

    def seed(self, what: str) -> int:
        """A seed for each thing that draws, below 2**20, from the recipe's one."""
        digest = hashlib.sha256(f"{self.recipe.seed} {what}".encode()).digest()
        return int.from_bytes(digest[:4], "big") % 2**20

    def predictions(self, name: str, split: str) -> Predictions:
        """What was predicted and written earlier.

        Raises:
            DataError: The file is missing or damaged.
        """
        return predictions(self.run, name, split)

    @contextlib.contextmanager
    def phase(self, title: str) -> Iterator[None]:
        """Add the time spent in this block to the run's record, interrupted or not."""
        begun = time.monotonic()
        try:
            yield
        finally:
            with storage.turn(self.run.phases):  # models may be made at once
                seconds = self.seconds()
                seconds[title] = round(seconds.get(title, 0.0) + time.monotonic() - begun, 2)
                storage.write_json(self.run.phases, seconds)

    def seconds(self) -> dict[str, float]:
        """Time spent by phase, over all resumes."""
        if not self.run.phases.is_file():
            return {}
        found: dict[str, float] = json.loads(self.run.phases.read_text(encoding="utf-8"))
        return found
