"""Results of a cross-validation: read the predictions of its runs, compare ways to combine, write reports."""

import collections
from collections.abc import Mapping, Sequence

from tumorboard import config, storage
from tumorboard.config import Recipe
from tumorboard.data.class_folders import SPLITS
from tumorboard.ensembles import combination
from tumorboard.errors import RunFolderError, display
from tumorboard.predictions import Predictions
from tumorboard.reports.cross_validation import (
    CrossValidation,
    cross_validation_json,
    cross_validation_report,
    cross_validation_summary,
)
from tumorboard.reports.output import write_report
from tumorboard.run_folder import RunFolder
from tumorboard.workflows.audit import shortcut_classes
from tumorboard.workflows.run_context import read_manifest, read_predictions, read_seconds

BAGGED = "bagged"
"""The run, and the model, that averages the ensembles of all folds."""

Fold = Mapping[str, Predictions]
"""By model trained without the fold, its predictions of the fold; "<member> mirrored": of mirror images."""


def fold_runs(whole: RunFolder, k: int) -> list[RunFolder]:
    """Return the run folders of K folds."""
    return [RunFolder(whole.root / "folds" / f"fold-{number}") for number in range(1, k + 1)]


def seed_runs(whole: RunFolder, recipe: Recipe, n: int) -> list[RunFolder]:
    """Return the run folders of n consecutive seeds, the first of which is the recipe's."""
    return [RunFolder(whole.root / f"seed-{seed}") for seed in range(recipe.seed, recipe.seed + n)]


def read_fold(run: RunFolder, recipe: Recipe) -> Fold:
    """Read the predictions that a fold's run made of its fold, which lies in the place of test."""
    members = recipe.ensemble.members
    plain = {name: read_predictions(run, name, "test") for name in recipe.names}
    return plain | {f"{name} mirrored": read_predictions(run, name, "test-mirrored") for name in members}


def combination_methods(held_out: Sequence[Fold], recipe: Recipe) -> dict[str, Predictions]:
    """Predict each fold by each way to combine, fitted on the other folds.

    A form that only a training run can fit is judged where the recipe has it: as each fold's own ensemble.
    """
    if not held_out:
        return {}
    members = [[fold[name] for name in recipe.ensemble.members] for fold in held_out]
    mirrored = [[fold[f"{name} mirrored"] for name in recipe.ensemble.members] for fold in held_out]
    both = [[*plain, *flipped] for plain, flipped in zip(members, mirrored, strict=True)]
    fitted = {form: combination.cross_fit(form, members) for form in combination.CANDIDATES}
    own = {recipe.ensemble.form: combination.concatenate([fold["ensemble"] for fold in held_out])}
    return own | fitted | {"mirrored": combination.cross_fit("mirrored", both)}


def write_results(
    whole: RunFolder,
    held_out: Sequence[Fold],
    methods: Mapping[str, Predictions],
    folds: Sequence[RunFolder],
    runs: Sequence[RunFolder],
    recipe: Recipe,
) -> None:
    """Write metrics.json, results.md and report.html of all runs.

    Args:
        whole: The folder of the cross-validation.
        held_out: Predictions of each fold.
        methods: Predictions of all folds by each way to combine, see `combination_methods`.
        folds: The finished runs of the folds.
        runs: The finished runs on the given splits.
        recipe: Their settings.
    """
    by_run = {
        run.root.name: {
            name: {part: read_predictions(run, name, part) for part in SPLITS} for name in recipe.names
        }
        for run in runs
    }
    results = CrossValidation(
        {
            name: combination.concatenate([fold[name] for fold in held_out])
            for name in (recipe.names if held_out else ())
        },
        methods,
        by_run,
        {run.root.name: sum(read_seconds(run).values()) for run in runs},
        shortcut_classes(runs[0], read_predictions(runs[0], "ensemble", "test").class_names),
        collections.ChainMap(*(read_manifest(run).groups for run in (*folds, *runs))),
    )
    storage.write_text(whole.metrics, cross_validation_json(results))
    write_report(cross_validation_report(results), whole, cross_validation_summary(results))


def rewrite_results(whole: RunFolder) -> None:
    """Write the results of a finished cross-validation anew from the predictions of its runs.

    Raises:
        RunFolderError: No finished cross-validation.
        DataError: A file of it is damaged.
    """
    folds = fold_runs(whole, len(list((whole.root / "folds").glob("fold-*"))))
    seeds = sorted(whole.root.glob("seed-*"), key=lambda path: int(path.name.removeprefix("seed-")))
    if not seeds:
        raise RunFolderError(
            f"expected a finished run or cross-validation in {display(whole.root)}, found neither"
        )
    runs = [RunFolder(path) for path in seeds]
    recipe = config.load(str((folds or runs)[0].recipe))
    held_out = [read_fold(run, recipe) for run in folds]
    write_results(whole, held_out, combination_methods(held_out, recipe), folds, runs, recipe)
