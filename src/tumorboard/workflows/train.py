"""The main job: from class folders to four trained, evaluated models."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from tumorboard import progress, run_folder
from tumorboard.audit.dataset_facts import FactsCollector
from tumorboard.config import Recipe, load
from tumorboard.data.manifest import DataSource
from tumorboard.errors import RunFolderError
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder
from tumorboard.storage import shown
from tumorboard.workflows import fingerprint, report
from tumorboard.workflows.audit import audit_images
from tumorboard.workflows.prepare import prepare
from tumorboard.workflows.run_context import RunContext, record_test_evaluation

_QUIET = Console(quiet=True)


def train(
    data: str | Path | DataSource,
    out: str | Path,
    recipe: str | Recipe = "default",
    *,
    track: str = "",
    images: Path | None = None,
    console: Console | None = None,
) -> RunFolder:
    """Train every model of the recipe, evaluate them, and leave it all in the folder `out`.

    A repeated call goes on where an interrupted one stopped, and ends where that one would have ended.

    Args:
        data: Class folders or a manifest CSV; a `DataSource` also says how the classes are read.
        out: The run folder.
        recipe: The settings, or the name or file of a recipe.
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
        complete(run, data, plan, track=track, images=images, console=console)
    return run


def complete(
    run: RunFolder,
    data: str | Path | DataSource,
    recipe: Recipe,
    *,
    track: str = "",
    images: Path | None = None,
    console: Console = _QUIET,
) -> None:
    """As `train`, in a folder that is held already."""
    collector = FactsCollector()  # the audit needs no second pass over the images that are decoded now
    on_image = None if run.audit.is_file() else collector.add
    context = replace(prepare(data, run, recipe, console, images=images, on_image=on_image), track=track)
    with context.phase("audit"):
        audit_images(context, collector)
    _convene(context)
    _open_test(context)
    shutil.rmtree(run.cache, ignore_errors=True)


def refuse_a_study(run: RunFolder) -> None:
    """Raise RunFolderError if the folder is that of a repeated study."""
    if os.path.isfile(RunFolder(run.root / "data").manifest):  # no error at a name that cannot be
        raise RunFolderError(
            f"expected a run folder or a new one, found a repeated study in {shown(run.root)}; "
            "repeat it with its --folds and --seeds, or choose another --out"
        )


def _convene(context: RunContext) -> None:
    from tumorboard.training import fit, tracking
    from tumorboard.workflows import (  # Keras, seconds to import, only once the data is known to be good
        build_models,
        calibrate,
    )

    if context.track:
        tracking.require(context.track)
        folder = context.run.tracking(context.track)
        place = tracking.destination(context.track, folder)
        context.console.print(f"{context.track}: training curves go to {place}")
    fit.prepare_backend(context.recipe.seed, fingerprint.threads(context.recipe))
    build_models.train_models(context)
    with context.phase("calibration"):
        calibrate.calibrate(context)
    run_folder.write_checksums(context.run)


def _open_test(context: RunContext) -> None:
    """Everything is chosen by now: score test, and write the results."""
    from tumorboard.workflows import build_models

    if not all(context.run.predictions(name, "test").is_file() for name in context.recipe.names):
        record_test_evaluation(context.run, len(context.part("test").samples))
    with context.phase("test"):
        for name in context.recipe.names:
            build_models.predict_splits(context, name, "test")
    with context.phase("results"):
        results = report.read_results(context)
    report.write_results(context, results)  # with the seconds of every phase
