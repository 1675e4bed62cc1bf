"""The study repeated: over folds of train and validation, which choose how to combine, and over seeds."""

import collections
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tumorboard import interruption, locking, storage
from tumorboard.combining import rules
from tumorboard.console import Console
from tumorboard.errors import UsageError
from tumorboard.pipeline import choosing, folding, leaks
from tumorboard.pipeline.choosing import Fold
from tumorboard.pipeline.job import predictions, samples
from tumorboard.pipeline.pieces import Plan, carry_out
from tumorboard.pipeline.prepare import prepare
from tumorboard.predictions import Predictions
from tumorboard.recipe import Recipe
from tumorboard.reporting.repeated import Repeats
from tumorboard.reporting.repeats import repeats_json, repeats_md
from tumorboard.reporting.study import SPLITS
from tumorboard.reporting.study_page import study_page
from tumorboard.runfolder import RunFolder

Engine = Callable[[Sequence[Plan], Console], None]
"""Carries out all runs, in any order."""


def one_by_one(plans: Sequence[Plan], console: Console) -> None:
    """The engine of one machine."""
    for plan in plans:
        console.say(plan.out.name)
        carry_out(plan, console)


def repeat(
    source: str | Path,
    out: str | Path,
    recipe: Recipe,
    *,
    folds: int = 0,
    seeds: int = 1,
    bag: bool = False,
    class_map: Mapping[str, Sequence[str]] = {},
    merge: Mapping[str, Sequence[str]] = {},
    skip_bad: bool = False,
    console: Console | None = None,
    engine: Engine = one_by_one,
) -> RunFolder:
    """Train the study once a fold and once a seed; a repeated call goes on where it stopped.

    Folds are dealt from train and validation, twins and groups kept together; test stays out of them. What
    they say of the ways to combine chooses the ensemble's form, and the weights of an average, for the
    runs that follow. Every run is a run folder of its own: `folds/fold-1`, ..., `seed-0`, ...

    Args:
        source: Class folders, or a manifest CSV.
        out: The folder of all runs.
        recipe: The settings; the first seed is its own.
        folds: K, 2 or more; 0 for none.
        seeds: How many runs with seeds of their own, on the same split.
        bag: Average the folds' ensembles into one model as well, in `bagged`; see `bagging`.
        class_map: As for `train`.
        merge: As for `train`.
        skip_bad: As for `train`.
        console: Where progress is shown; quiet by default.
        engine: Who trains the runs.

    Raises:
        TumorboardError: One of its kinds, see `tumorboard.errors`.
    """
    require_numbers(folds, seeds, bag)
    whole, console = RunFolder(Path(out)), console or Console(quiet=True)
    with interruption.graceful(), locking.locked(whole):
        data = RunFolder(whole.root / "data")
        with locking.locked(data):
            prepare(Path(source), data, recipe, console, class_map=class_map, merge=merge, skip_bad=skip_bad)
        found = _cross_validate(whole, data, recipe, folds, engine, console)
        ways = choosing.ways(found, recipe)
        runs = _seeds(whole, data, choosing.with_rule(recipe, found, ways), seeds, engine, console)
        if bag:
            from tumorboard.pipeline import bagging  # Keras: whoever hands runs out can do without

            bagging.bag(whole, data, _fold_runs(whole, folds), console)
        groups = collections.ChainMap(*(samples(run).groups for run in (*_fold_runs(whole, folds), *runs)))
        _write(whole, _together(found, ways, runs, recipe, groups))
        shutil.rmtree(data.cache, ignore_errors=True)
    return whole


def require_numbers(folds: int, seeds: int, bag: bool) -> None:
    """Raise UsageError if there is no such study."""
    if folds == 1 or folds < 0:
        raise UsageError(f"expected 2 or more --folds, found {folds}; leave it out for none")
    if seeds < 1:
        raise UsageError(f"expected 1 or more --seeds, found {seeds}")
    if bag and not folds:
        raise UsageError("expected --folds with --bag, found none; it averages the folds' ensembles")


def _cross_validate(
    whole: RunFolder, data: RunFolder, recipe: Recipe, k: int, engine: Engine, console: Console
) -> list[Fold]:
    if not k:
        return []
    folder = whole.root / "folds"
    files = folding.deal(data.manifest, folder, recipe, k)
    folds = zip(files, _fold_runs(whole, k), strict=True)
    runs = _run([Plan(file, run.root, recipe, data.cache) for file, run in folds], engine, console)
    from tumorboard.pipeline import mirroring  # Keras, once the runs are done

    for run in runs:
        mirroring.predict(run, recipe, "test", data.cache, console)
    return [choosing.held_out(run, recipe) for run in runs]


def _fold_runs(whole: RunFolder, k: int) -> list[RunFolder]:
    return [RunFolder(whole.root / "folds" / f"fold-{number}") for number in range(1, k + 1)]


def _run(plans: Sequence[Plan], engine: Engine, console: Console) -> list[RunFolder]:
    engine([plan for plan in plans if not _is_done(RunFolder(plan.out))], console)
    return [RunFolder(plan.out) for plan in plans]


def _is_done(run: RunFolder) -> bool:
    """The last file that a run writes is there, and what it then deletes is not."""
    return run.checklist.is_file() and not run.cache.exists()


def _seeds(
    whole: RunFolder, data: RunFolder, recipe: Recipe, seeds: int, engine: Engine, console: Console
) -> list[RunFolder]:
    recipes = [recipe.model_copy(update={"seed": recipe.seed + number}) for number in range(seeds)]
    plans = [Plan(data.manifest, whole.root / f"seed-{one.seed}", one, data.cache) for one in recipes]
    return _run(plans, engine, console)


def _together(
    found: Sequence[Fold],
    ways: Mapping[str, Predictions],
    runs: Sequence[RunFolder],
    recipe: Recipe,
    groups: Mapping[str, str],
) -> Repeats:
    names = recipe.names if found else ()
    return Repeats(
        {name: rules.together([fold[name] for fold in found]) for name in names},
        ways,
        {run.root.name: _all_predictions(run, recipe) for run in runs},
        {run.root.name: sum(json.loads(run.phases.read_text("utf-8")).values()) for run in runs},
        leaks.shortcuts(runs[0], predictions(runs[0], "ensemble", "test").class_names),
        groups,
    )


def _write(whole: RunFolder, study: Repeats) -> None:
    figures = repeats_json(study)  # bootstraps: made once
    storage.write_text(whole.metrics, figures)
    storage.write_text(whole.report, study_page(json.loads(figures)))
    storage.write_text(whole.results, repeats_md(study))


def _all_predictions(run: RunFolder, recipe: Recipe) -> dict[str, dict[str, Predictions]]:
    return {name: {split: predictions(run, name, split) for split in SPLITS} for name in recipe.names}
