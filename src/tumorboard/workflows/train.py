"""The main job: from class folders to four trained, evaluated models."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tumorboard import progress, run_folder
from tumorboard.config import Recipe, load
from tumorboard.errors import RunFolderError
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder
from tumorboard.storage import shown
from tumorboard.workflows import fingerprint, report
from tumorboard.workflows.prepare import prepare
from tumorboard.workflows.run_context import Job

_QUIET = Console(quiet=True)


def train(
    source: str | Path,
    out: str | Path,
    recipe: str | Recipe = "default",
    *,
    class_map: Mapping[str, Sequence[str]] = {},
    merge: Mapping[str, Sequence[str]] = {},
    skip_bad: bool = False,
    track: str = "",
    images: Path | None = None,
    console: Console | None = None,
) -> RunFolder:
    """Train every model of the recipe, evaluate them, and leave it all in the folder `out`.

    A repeated call goes on where an interrupted one stopped, and ends where that one would have ended.

    Args:
        source: Class folders, or a manifest CSV.
        out: The run folder.
        recipe: The settings, or the name or file of a recipe.
        class_map: Class name to the folders that are this class.
        merge: New class name to the classes that it takes in.
        skip_bad: Leave out files that cannot be read, instead of refusing to begin.
        track: "tensorboard" or "mlflow", to show the trainings there too; changes nothing in them.
        images: Where decoded images are looked for and kept, for runs that share them; in the run by default.
        console: Where progress is shown; quiet by default.

    Raises:
        TumorboardError: One of its kinds, see `tumorboard.errors`.
    """
    run, console = RunFolder(Path(out)), console or _QUIET
    plan = load(recipe) if isinstance(recipe, str) else recipe
    refuse_a_study(run)
    with progress.graceful(), run_folder.locked(run):
        how = {"class_map": class_map, "merge": merge, "skip_bad": skip_bad}
        complete(run, Path(source), plan, **how, track=track, images=images, console=console)
    return run


def complete(
    run: RunFolder,
    source: Path,
    recipe: Recipe,
    *,
    track: str = "",
    console: Console = _QUIET,
    **how: Any,
) -> None:
    """As `train`, in a folder that is held already; `how` is what `prepare` is told."""
    job = replace(prepare(source, run, recipe, console, **how), track=track)
    _audit(job)
    _convene(job)
    _open_test(job)
    shutil.rmtree(run.cache, ignore_errors=True)


def refuse_a_study(run: RunFolder) -> None:
    """Raise RunFolderError if the folder is that of a repeated study."""
    if os.path.isfile(RunFolder(run.root / "data").manifest):  # no error at a name that cannot be
        raise RunFolderError(
            f"expected a run folder or a new one, found a repeated study in {shown(run.root)}; "
            "repeat it with its --folds and --seeds, or choose another --out"
        )


def _audit(job: Job) -> None:
    with job.phase("audit"):
        report.look(job)


def _convene(job: Job) -> None:
    from tumorboard.training import fit, tracking
    from tumorboard.workflows import (  # Keras, seconds to import, only once the data is known to be good
        build_models,
        calibrate,
    )

    if job.track:
        tracking.require(job.track)
        folder = job.run.tracking(job.track)
        job.console.say(f"{job.track}: figures of the trainings go to {tracking.place(job.track, folder)}")
    fit.prepare_backend(job.recipe.seed, fingerprint.threads(job.recipe))
    build_models.convene(job)
    with job.phase("calibration"):
        calibrate.calibrate(job)
    run_folder.write_checksums(job.run)


def _open_test(job: Job) -> None:
    """Everything is chosen by now: score test, and write the results."""
    from tumorboard.workflows import build_models, report

    if not all(job.run.predictions(name, "test").is_file() for name in job.recipe.names):
        report.count_look_at_test(job.run, len(job.part("test").samples))
    with job.phase("test"):
        for name in job.recipe.names:
            build_models.predict(job, name, "test")
    with job.phase("results"):
        study = report.write_results(job)
    report.write_report(job, study)  # it shows the seconds of every phase
