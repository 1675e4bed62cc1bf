"""A run in pieces that can be done by several processes, the run folder between them.

Every model is a piece, which needs those that it is made of. The last piece, `RESULTS`, needs all of them:
calibration, test, results. Who hands the pieces out holds the run folder meanwhile.
"""

from dataclasses import dataclass
from pathlib import Path

from tumorboard import progress, run_folder
from tumorboard.config import Recipe
from tumorboard.data import image_cache
from tumorboard.data.manifest import DataSource
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder
from tumorboard.workflows import fingerprint
from tumorboard.workflows.prepare import prepare
from tumorboard.workflows.run_context import RunContext, read_manifest
from tumorboard.workflows.train import complete, refuse_a_study, train

RESULTS = "results"
_QUIET = Console(quiet=True)


@dataclass(frozen=True)
class Plan:
    """One run; needs nothing of any other run, so it can be done anywhere.

    Attributes:
        data: Class folders, or the manifest it learns from.
        out: Its run folder, the record of what is finished.
        recipe: The settings.
        images: Where the decoded images lie, which runs may share.
    """

    data: DataSource
    out: Path
    recipe: Recipe
    images: Path


def carry_out(plan: Plan, console: Console) -> None:
    """The whole run in this process; what was finished of it earlier is not done again."""
    train(plan.data, plan.out, plan.recipe, images=plan.images, console=console)
    _forget_graphs()


def begin(plan: Plan, console: Console) -> None:
    """Check and write down what the run is of, so that its models can be made beside each other."""
    run = RunFolder(plan.out)
    refuse_a_study(run)
    prepare(plan.data, run, plan.recipe, console, images=plan.images)


def needs(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """By piece, the pieces that it waits for; in an order in which they can be done."""
    return {**{name: recipe.dependencies(name) for name in recipe.names}, RESULTS: recipe.names}


def do(plan: Plan, piece: str) -> None:
    """One piece of a run that was begun; a model that is finished is not made again."""
    run = RunFolder(plan.out)
    with progress.graceful(), run_folder.locked_part(run, piece):
        if piece == RESULTS:
            complete(run, plan.data, plan.recipe, images=plan.images)
        else:
            _make(run, plan, piece)
    _forget_graphs()


def _make(run: RunFolder, plan: Plan, name: str) -> None:
    """A model, and what it says of train and validation."""
    from tumorboard.training import fit
    from tumorboard.workflows import build_models

    manifest = read_manifest(run)
    now = fingerprint.take(plan.recipe, manifest)
    fingerprint.require_same(run, {"environment": now["environment"]})  # another machine may have others
    decoded = image_cache.decode(manifest, plan.images, plan.recipe.image)
    fit.prepare_backend(plan.recipe.seed, fingerprint.threads(plan.recipe))
    build_models.train_model(RunContext(run, plan.recipe, manifest, decoded, _QUIET), name)


def _forget_graphs() -> None:
    """Or those of all runs stay in memory."""
    import keras

    keras.utils.clear_session()
