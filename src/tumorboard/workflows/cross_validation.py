"""Folds of what may be learnt from: twins and groups stay together, and test is left out."""

import collections
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from tumorboard import config, progress, run_folder, storage
from tumorboard.config import Recipe
from tumorboard.data import image_cache
from tumorboard.data.image_cache import Images
from tumorboard.data.manifest import DataSource, Manifest, write_csv
from tumorboard.data.pixels import Pixels
from tumorboard.ensembles import combination, ensemble
from tumorboard.ensembles.combination import CombinationRule
from tumorboard.errors import RunFolderError, UsageError
from tumorboard.evaluation.model_selection import most_accurate
from tumorboard.models import saving
from tumorboard.models.inference import probabilities
from tumorboard.models.model_spec import ModelSpec
from tumorboard.predictions import Predictions
from tumorboard.progress import Console
from tumorboard.reports.cross_validation import (
    CrossValidation,
    cross_validation_json,
    cross_validation_report,
)
from tumorboard.reports.output import write_report
from tumorboard.reports.run_results import SPLITS
from tumorboard.run_folder import RunFolder
from tumorboard.training import fit
from tumorboard.workflows import fingerprint
from tumorboard.workflows.audit import shortcut_classes
from tumorboard.workflows.evaluate import evaluate_data
from tumorboard.workflows.prepare import prepare
from tumorboard.workflows.run_context import read_manifest, read_predictions, record_test_evaluation
from tumorboard.workflows.run_plan import Plan, carry_out
from tumorboard.workflows.split import split

_VALID = 0.1  # of all images; a fold's validation part chooses nothing when the recipe has no patience


def deal(
    data: str | Path | DataSource,
    folder: Path,
    recipe: Recipe,
    k: int,
    *,
    console: Console | None = None,
) -> list[Path]:
    """The manifest of each fold, with the fold in the place of test; dealt once.

    Args:
        data: Class folders or a manifest CSV; the images of a test part in it are not opened.
        folder: Where the manifests are kept.
        recipe: Its seed chooses among the possible deals.
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
            keep_test=True,
            console=console,
        )
    return files


Fold = Mapping[str, Predictions]
"""What every model, trained without the fold, says of it; "<member> mirrored": of its mirror images."""


def held_out(run: RunFolder, recipe: Recipe) -> Fold:
    """A fold's run on its fold, which lies in the place of test."""
    members = recipe.ensemble.members
    found = {name: read_predictions(run, name, "test") for name in recipe.names}
    return found | {f"{name} mirrored": read_predictions(run, name, "test-mirrored") for name in members}


def ways_to_combine(found: Sequence[Fold], recipe: Recipe) -> dict[str, Predictions]:
    """What each way to combine, fitted on the other folds, makes of each fold.

    A form that only a training run can fit is judged where the recipe has it: as each fold's own ensemble.
    """
    if not found:
        return {}
    members = [[fold[name] for name in recipe.ensemble.members] for fold in found]
    mirrored = [[fold[f"{name} mirrored"] for name in recipe.ensemble.members] for fold in found]
    both = [[*one, *other] for one, other in zip(members, mirrored, strict=True)]
    fitted = {form: combination.cross_fit(form, members) for form in combination.CANDIDATES}
    own = {recipe.ensemble.form: combination.concatenate([fold["ensemble"] for fold in found])}
    return own | fitted | {"mirrored": combination.cross_fit("mirrored", both)}


def with_rule(recipe: Recipe, found: Sequence[Fold], judged: Mapping[str, Predictions]) -> Recipe:
    """The recipe with the form that the folds prefer; the weights of an average come from them too."""
    if not found:
        return recipe
    form = most_accurate(judged)
    pooled = combination.pool_folds([[fold[name] for name in recipe.ensemble.members] for fold in found])
    weights = combination.fit_rule(form, pooled).weights
    chosen = recipe.ensemble.model_copy(update={"form": form, "weights": weights})
    return recipe.model_copy(update={"ensemble": chosen})


@dataclass(frozen=True)
class _Mirrored:
    """Turned when they are asked for."""

    images: Images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: slice) -> Pixels:
        turned: Pixels = self.images[key][:, :, ::-1]
        return turned


def predict(run: RunFolder, recipe: Recipe, split: str, images: Path, console: Console) -> None:
    """Write `predictions/<model>-<split>-mirrored.csv` for each member of the ensemble, unless it is there.

    Args:
        run: A finished run.
        recipe: Its settings.
        split: One of its parts.
        images: Where decoded images lie.
        console: Where progress is shown.
    """
    files = {name: run.predictions(name, f"{split}-mirrored") for name in recipe.ensemble.members}
    missing = {name: file for name, file in files.items() if not file.is_file()}
    if not missing:
        return
    fit.prepare_backend(recipe.seed, fingerprint.threads(recipe))
    part = read_manifest(run).part(split)
    turned: Any = _Mirrored(image_cache.decode(part, images, recipe.image).images)
    for name, file in missing.items():
        model, spec = saving.load(run.model(name))
        with console.task(f"{run.root.name}, {name}: predicting mirror images") as update:
            rows = probabilities(model, turned, update)
        storage.write_text(file, Predictions(part.ids, part.labels, spec.class_names, rows).to_csv())
        keras.utils.clear_session()  # or the graphs of all folds stay in memory


NAME = "bagged"


def bag_folds(whole: RunFolder, data: RunFolder, folds: Sequence[RunFolder], console: Console) -> None:
    """Make `STUDY/bagged`, a folder that `predict` and `evaluate` take, and score its model on test.

    No fold's models have seen test, so that this figure is an honest one. Every other image was learnt by
    most of them: there the bag as a whole cannot be judged, and nothing is chosen or recommended by it.

    Args:
        whole: The repeated study.
        data: Where its manifest lies.
        folds: The folds' finished runs.
        console: Where progress is shown.
    """
    run = RunFolder(whole.root / NAME)
    with run_folder.locked(run):
        _make(run, folds)
        run_folder.write_checksums(run)
        known = read_manifest(data)
        if not (run.root / "evaluations" / "manifest" / "metrics.json").is_file():
            _write_manifest(run, known, "train", "valid")  # test is new to it, and its page says so
            record_test_evaluation(run, len(known.part("test").samples))
            evaluate_data(run.root, data.manifest, console=console)
        _write_manifest(run, known, "train", "valid", "test")


def _make(run: RunFolder, folds: Sequence[RunFolder]) -> None:
    if saving.is_saved(run.model(NAME)):
        return
    members = [saving.load(fold.model("ensemble")) for fold in folds]
    model = ensemble.build(NAME, members, CombinationRule("mean"))
    details = {"form": "mean", "members": [f"{fold.root.name}/ensemble" for fold in folds]}
    first = members[0][1]
    saving.save(model, ModelSpec(NAME, "ensemble", first.class_names, first.image, details), run.model(NAME))


def _write_manifest(run: RunFolder, known: Manifest, *splits: str) -> None:
    """The samples of these splits; validation too was learnt from."""
    some = [one for one in known.samples if one.split in splits]
    learnt = [replace(one, split="train") if one.split == "valid" else one for one in some]
    storage.write_text(run.manifest, write_csv(replace(known, samples=tuple(learnt))))


Engine = Callable[[Sequence[Plan], Console], None]
"""Carries out all runs, in any order."""


def one_by_one(plans: Sequence[Plan], console: Console) -> None:
    """The engine of one machine."""
    for plan in plans:
        console.print(plan.out.name)
        carry_out(plan, console)


def repeat(
    data: str | Path | DataSource,
    out: str | Path,
    recipe: Recipe,
    *,
    folds: int = 0,
    seeds: int = 1,
    bag: bool = False,
    console: Console | None = None,
    engine: Engine = one_by_one,
) -> RunFolder:
    """Train the study once a fold and once a seed; a repeated call goes on where it stopped.

    Folds are dealt from train and validation, twins and groups kept together; test stays out of them. What
    they say of the ways to combine chooses the ensemble's form, and the weights of an average, for the
    runs that follow. Every run is a run folder of its own: `folds/fold-1`, ..., `seed-0`, ...

    Args:
        data: Class folders or a manifest CSV.
        out: The folder of all runs.
        recipe: The settings; the first seed is its own.
        folds: K, 2 or more; 0 for none.
        seeds: How many runs with seeds of their own, on the same split.
        bag: Average the folds' ensembles into one model as well, in `bagged`; see `bagging`.
        console: Where progress is shown; quiet by default.
        engine: Who trains the runs.

    Raises:
        TumorboardError: One of its kinds, see `tumorboard.errors`.
    """
    require_numbers(folds, seeds, bag)
    whole, console = RunFolder(Path(out)), console or Console(quiet=True)
    with progress.graceful(), run_folder.locked(whole):
        shared = RunFolder(whole.root / "data")
        with run_folder.locked(shared):
            prepare(data, shared, recipe, console)
        found = _cross_validate(whole, shared, recipe, folds, engine, console)
        ways = ways_to_combine(found, recipe)
        runs = _seeds(whole, shared, with_rule(recipe, found, ways), seeds, engine, console)
        if bag:
            pass  # merged  # Keras: whoever hands runs out can do without

            bag_folds(whole, shared, _fold_runs(whole, folds), console)
        _write(whole, _gathered(found, ways, _fold_runs(whole, folds), runs, recipe))
        shutil.rmtree(shared.cache, ignore_errors=True)
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
    files = deal(data.manifest, folder, recipe, k)
    folds = zip(files, _fold_runs(whole, k), strict=True)
    runs = _run(
        [Plan(DataSource(file), run.root, recipe, data.cache) for file, run in folds], engine, console
    )
    pass  # merged  # Keras, once the runs are done

    for run in runs:
        predict(run, recipe, "test", data.cache, console)
    return [held_out(run, recipe) for run in runs]


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
    source = DataSource(data.manifest)
    plans = [Plan(source, whole.root / f"seed-{one.seed}", one, data.cache) for one in recipes]
    return _run(plans, engine, console)


def write_results(whole: RunFolder) -> None:
    """Write the results of a finished cross-validation anew from the predictions of its runs.

    Raises:
        RunFolderError: No finished cross-validation.
        DataError: A file of it is damaged.
    """
    folds = _fold_runs(whole, len(list((whole.root / "folds").glob("fold-*"))))
    runs = sorted(whole.root.glob("seed-*"), key=lambda path: int(path.name.removeprefix("seed-")))
    if not runs:
        raise RunFolderError(
            f"expected a finished run or cross-validation in {storage.shown(whole.root)}, found neither"
        )
    recipe = config.load(str((folds or [RunFolder(runs[0])])[0].recipe))
    found = [held_out(run, recipe) for run in folds]
    _write(whole, _gathered(found, ways_to_combine(found, recipe), folds, list(map(RunFolder, runs)), recipe))


def _gathered(
    found: Sequence[Fold],
    methods: Mapping[str, Predictions],
    folds: Sequence[RunFolder],
    runs: Sequence[RunFolder],
    recipe: Recipe,
) -> CrossValidation:
    names = recipe.names if found else ()
    return CrossValidation(
        {name: combination.concatenate([fold[name] for fold in found]) for name in names},
        methods,
        {
            run.root.name: {
                name: {split: read_predictions(run, name, split) for split in SPLITS} for name in recipe.names
            }
            for run in runs
        },
        {run.root.name: sum(json.loads(run.phases.read_text("utf-8")).values()) for run in runs},
        shortcut_classes(runs[0], read_predictions(runs[0], "ensemble", "test").class_names),
        collections.ChainMap(*(read_manifest(run).groups for run in (*folds, *runs))),
    )


def _write(whole: RunFolder, results: CrossValidation) -> None:
    storage.write_text(whole.metrics, cross_validation_json(results))
    write_report(cross_validation_report(results), whole)
