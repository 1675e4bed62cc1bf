"""The main job: from labelled images to trained, combined, evaluated models and a report."""

from pathlib import Path

from tumorboard.config import Recipe, load
from tumorboard.data.manifest import DataSource
from tumorboard.errors import UsageError, display
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder
from tumorboard.workflows.fingerprint import is_finished


def train(
    data: str | Path | DataSource,
    out: str | Path,
    recipe: str | Recipe = "default",
    *,
    folds: int = 0,
    seeds: int = 1,
    bag: bool = False,
    ray: str = "",
    track: str = "",
    console: Console | None = None,
) -> RunFolder:
    """Train every model of the recipe, evaluate them, and write models and report to the folder `out`.

    A repeated call goes on where an interrupted one stopped, and ends with the same bits.

    Args:
        data: Class folders or a manifest CSV; a `DataSource` also sets how classes are matched.
        out: The run folder.
        recipe: The settings, or the name or file of a recipe.
        folds: K, 2 or more, to cross-validate first, see `cross_validate`; 0 for one run.
        seeds: How many runs with consecutive seeds, see `cross_validate`.
        bag: Also average the folds' ensembles into one model, see `cross_validate`.
        ray: "local" or the address of a Ray cluster that trains models in parallel; "" for this process.
        track: "tensorboard" or "mlflow" also shows the training curves; has no effect on the training.
        console: Where progress is shown; quiet by default.

    Returns:
        The finished run; with `folds`, `seeds` or `bag` the folder of all runs.

    Raises:
        TumorboardError: A subclass, see `tumorboard.errors`.
    """
    recipe, console = load(recipe) if isinstance(recipe, str) else recipe, console or Console(quiet=True)
    several = bool(folds) or seeds != 1 or bag
    if track:
        if several or ray:
            raise UsageError("expected one run with --track, found --folds, --seeds or --ray; leave one out")
        from tumorboard.training import tracking

        tracking.require(track)
    run, source = RunFolder(Path(out)), DataSource.of(data)
    recipe = recipe.for_workers() if ray else recipe
    if not several and is_finished(run, source, recipe):
        console.print(f"{display(run.root)} is finished; nothing is trained again")
        return run
    from tumorboard.workflows.cross_validation import cross_validate  # seconds to import
    from tumorboard.workflows.run_context import read_seconds
    from tumorboard.workflows.run_plan import RunPlan, early_stopping, run_executor, run_phases

    if several:
        return cross_validate(data, out, recipe, folds=folds, seeds=seeds, bag=bag, ray=ray, console=console)
    with run_executor(recipe, ray, runs=1) as execute:
        plan = RunPlan(source, run.root, recipe, track=track)
        earlier = sum(read_seconds(run).values())
        with console.overall({plan.title: run_phases(recipe)}, earlier, early_stopping(recipe)):
            execute([plan], console)
    return run
