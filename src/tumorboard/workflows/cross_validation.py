"""Cross-validate on train and validation to choose how to combine models, then train with several seeds."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from tumorboard import config, progress, run_folder, run_state
from tumorboard.config import Recipe
from tumorboard.data.manifest import DataSource
from tumorboard.ensembles import combination
from tumorboard.errors import UsageError, display
from tumorboard.evaluation.model_selection import most_accurate
from tumorboard.predictions import Predictions
from tumorboard.progress import Console, Plan
from tumorboard.run_folder import RunFolder
from tumorboard.workflows import fingerprint
from tumorboard.workflows.fold_results import (
    BAGGED,
    Fold,
    combination_methods,
    fold_runs,
    read_fold,
    seed_runs,
    write_results,
)
from tumorboard.workflows.prepare import prepare
from tumorboard.workflows.run_plan import Executor, RunPlan, early_stopping, run_executor, run_phases
from tumorboard.workflows.split import split

_VALID = 0.1  # of all images; a fold's validation split chooses nothing when the recipe has no patience


def cross_validate(
    data: str | Path | DataSource,
    out: str | Path,
    recipe: str | Recipe = "default",
    *,
    folds: int = 5,
    seeds: int = 1,
    bag: bool = False,
    ray: str = "",
    console: Console | None = None,
) -> RunFolder:
    """Train one run per fold and one per seed; a repeated call goes on where it stopped.

    Folds are dealt from train and validation, near duplicates and groups kept together; test is left out of
    them. The predictions of the folds choose the ensemble's form, and the weights of an average, for the
    runs that follow, which are trained on the given splits with consecutive seeds and scored on test. Every
    run is a run folder of its own: `folds/fold-1`, ..., `seed-0`, ...

    Args:
        data: Class folders or a manifest CSV.
        out: The folder of all runs.
        recipe: The settings, or their name or file; the first seed is the recipe's.
        folds: K, 2 or more; 0 for none.
        seeds: How many runs on the given splits.
        bag: Also average the folds' ensembles into one model, `bagged`, scored on test.
        ray: "local" or the address of a cluster that trains runs in parallel; "" for this process.
        console: Where progress is shown; quiet by default.

    Returns:
        The folder `out`, with metrics.json, results.md and report.html of all runs.

    Raises:
        TumorboardError: A subclass, see `tumorboard.errors`.
    """
    _check_numbers(folds, seeds, bag)
    recipe = config.load(recipe) if isinstance(recipe, str) else recipe
    whole, console, source = RunFolder(Path(out)), console or Console(quiet=True), DataSource.of(data)
    recipe = recipe.for_workers() if ray else recipe
    if _is_finished(whole, source, recipe, folds, seeds, bag):
        console.print(f"{display(whole.root)} is finished; nothing is trained again")
        return whole
    plan = _plan(recipe, folds, seeds, bag)
    with (
        run_executor(recipe, ray, max(folds, seeds)) as execute,
        progress.graceful(),
        run_folder.locked(whole),
        console.overall(plan, may_end_early=early_stopping(recipe)),
        run_state.recorded(whole, console),
    ):
        shared = RunFolder(whole.root / "data")
        with run_folder.locked(shared), console.phase("prepare"):
            recipe = prepare(data, shared, recipe, console).recipe
        held_out = _run_folds(whole, shared, recipe, folds, execute, console)
        methods = combination_methods(held_out, recipe)
        chosen = with_best_method(recipe, held_out, methods)
        runs = _run_seeds(whole, shared, chosen, seeds, execute, console)
        of_folds = fold_runs(whole, folds)
        if bag:
            from tumorboard.workflows.fold_models import bag_folds  # Keras, seconds to import

            with console.phase("bagged"):
                bag_folds(whole, shared, of_folds, console)
        with console.phase("report"):
            write_results(whole, held_out, methods, of_folds, runs, recipe)
        shutil.rmtree(shared.cache, ignore_errors=True)
    return whole


def _is_finished(
    whole: RunFolder, source: DataSource, recipe: Recipe, folds: int, seeds: int, bag: bool
) -> bool:
    """Return whether the folder holds these runs, all complete, and their results; needs no Keras.

    Raises:
        DataError: The data cannot be used.
        RunFolderError: Complete runs of other data or settings, or the folder is in use.
    """
    shared = RunFolder(whole.root / "data")
    runs = [*fold_runs(whole, folds), *seed_runs(whole, recipe, seeds)]
    files = [whole.metrics, whole.results, whole.report, shared.fingerprint, shared.manifest, shared.recipe]
    files += [RunFolder(whole.root / BAGGED).manifest] if bag else []
    if os.path.exists(shared.cache) or not all(map(os.path.isfile, files)) or not all(map(_has_ended, runs)):
        return False
    if {*whole.root.glob("seed-*"), *whole.root.glob("folds/fold-*")} != {run.root for run in runs}:
        return False  # the results are those of more runs
    with run_folder.locked(whole), run_folder.locked(shared):
        fingerprint.require_begun_with(shared, source, recipe)
    return True


def _plan(recipe: Recipe, folds: int, seeds: int, bag: bool) -> Plan:
    """The steps of all runs, with their expected durations."""
    of_run, of_fold = (
        {phase: tasks for phase, tasks in run_phases(recipe, graph).items() if phase != "leak meter"}
        for graph in (True, False)
    )
    numbers = range(recipe.seed, recipe.seed + seeds)
    return {
        "prepare": 10.0,
        **{f"fold-{k}": of_fold for k in range(1, folds + 1)},
        **({"mirror images": 4.0 * folds} if folds else {}),
        **{f"seed-{number}": of_run for number in numbers},
        **({"bagged": 12.0 * folds} if bag else {}),
        "report": 20.0,
    }


def _check_numbers(folds: int, seeds: int, bag: bool) -> None:
    """Raise UsageError for numbers of runs that cannot be made."""
    if folds == 1 or folds < 0:
        raise UsageError(f"expected 2 or more --folds, found {folds}; leave it out for none")
    if seeds < 1:
        raise UsageError(f"expected 1 or more --seeds, found {seeds}")
    if bag and not folds:
        raise UsageError("expected --folds with --bag, found none; it averages the folds' ensembles")


def deal_folds(
    data: str | Path | DataSource, folder: Path, recipe: Recipe, k: int, console: Console | None = None
) -> list[Path]:
    """Write the manifest of each fold, with the fold in the place of test, unless they are written.

    Args:
        data: Class folders or a manifest CSV; the images of its test split are not opened.
        folder: Where the manifests are kept.
        recipe: Its seed chooses among the possible deals; `splitting.keep_together` holds for folds too.
        k: How many, 2 or more; 0 for none.
        console: Where progress is shown; quiet by default.

    Raises:
        DataError: The data cannot be used, or a class has too few images for so many folds.
        StorageError: The disk is full or not writable.
    """
    files = [folder / f"manifest-fold{number}.csv" for number in range(1, k + 1)]
    if not all(file.is_file() for file in files):
        for file in files:
            file.unlink(missing_ok=True)
        split(
            data,
            folder / "manifest.csv",
            folds=k,
            valid=_VALID,
            seed=recipe.seed,
            window=recipe.image.window,
            frames=recipe.image.frames,
            keep_test=True,
            keep_together=recipe.splitting.keep_together,
            console=console,
        )
    return files


def _run_folds(
    whole: RunFolder, shared: RunFolder, recipe: Recipe, k: int, execute: Executor, console: Console
) -> list[Fold]:
    if not k:
        return []
    files, runs = deal_folds(shared.manifest, whole.root / "folds", recipe, k), fold_runs(whole, k)
    _execute_unfinished(
        [
            # Folds are held out to choose by; hardly anybody predicts with their models.
            RunPlan(DataSource(file), run.root, recipe, shared.cache, joint_graph=False)
            for file, run in zip(files, runs, strict=True)
        ],
        execute,
        console,
    )
    from tumorboard.workflows.fold_models import predict_mirrored  # Keras, only once the runs are done

    with console.phase("mirror images"):
        for run in runs:
            predict_mirrored(run, recipe, "test", shared.cache, console)
    return [read_fold(run, recipe) for run in runs]


def _run_seeds(
    whole: RunFolder, shared: RunFolder, recipe: Recipe, seeds: int, execute: Executor, console: Console
) -> list[RunFolder]:
    source, plans, runs = DataSource(shared.manifest), [], seed_runs(whole, recipe, seeds)
    for seed, run in enumerate(runs, start=recipe.seed):
        seeded = recipe.model_copy(update={"seed": seed})
        plans.append(RunPlan(source, run.root, seeded, shared.cache))
    _execute_unfinished(plans, execute, console)
    return runs


def _execute_unfinished(plans: Sequence[RunPlan], execute: Executor, console: Console) -> None:
    finished = [plan for plan in plans if _has_ended(RunFolder(plan.out))]
    for plan in finished:
        console.finish(plan.title, measured=False)
    execute([plan for plan in plans if plan not in finished], console)


def _has_ended(run: RunFolder) -> bool:
    """Return whether the last file that a run writes exists, and what it then deletes does not."""
    return run.checklist.is_file() and not run.cache.exists()


def with_best_method(recipe: Recipe, held_out: Sequence[Fold], methods: Mapping[str, Predictions]) -> Recipe:
    """Return the recipe with the most accurate form over the folds, and the weights that they give it."""
    if not held_out:
        return recipe
    form = most_accurate(methods)
    pooled = combination.pool_folds([[fold[name] for name in recipe.ensemble.members] for fold in held_out])
    weights = combination.fit_rule(form, pooled).weights
    chosen = recipe.ensemble.model_copy(update={"form": form, "weights": weights})
    return recipe.model_copy(update={"ensemble": chosen})
