"""Hyperparameter search: trials on cross-validation folds, with the settings of each proposed by Optuna.

Optuna stores nothing: its study object is rebuilt in memory for each trial from the trials so far. So a
search that was killed resumes exactly, and no second record can disagree with ours.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tumorboard import config, optional, progress, run_folder, run_state, search_space, storage
from tumorboard.config import Recipe
from tumorboard.data import manifest
from tumorboard.data.manifest import DataSource
from tumorboard.ensembles import combination
from tumorboard.errors import ModelError, RecipeError, RunFolderError, TrainingError, UsageError, display
from tumorboard.evaluation import metrics
from tumorboard.evaluation.scores import score
from tumorboard.predictions import Predictions
from tumorboard.progress import Console, Plan
from tumorboard.reports.output import write_report
from tumorboard.reports.tuning import (
    State,
    Trial,
    Tuning,
    best_trial,
    recipe_toml,
    settings_text,
    trials_from_json,
    trials_to_csv,
    trials_to_json,
    tuning_json,
    tuning_report,
    tuning_summary,
)
from tumorboard.run_folder import RunFolder
from tumorboard.search_space import Range, Space, Value
from tumorboard.workflows import cross_validation, fingerprint
from tumorboard.workflows.prepare import find_depth, prepare
from tumorboard.workflows.run_context import RunContext, read_predictions
from tumorboard.workflows.run_plan import model_tasks, refuse_cross_validation

_TRIALS_BEFORE_PRUNING = 5  # so many must be complete
_FOLDS_BEFORE_PRUNING = 2


def tune(
    data: str | Path | DataSource,
    out: str | Path,
    recipe: str | Recipe = "default",
    space: Space | None = None,
    *,
    trials: int = 20,
    folds: int = 5,
    model: str = "ensemble",
    console: Console | None = None,
) -> RunFolder:
    """Try settings of a recipe, and leave the best as `recipe.toml` in the folder `out`.

    A repeated call goes on where it stopped; with more trials it adds to those that are done.

    Args:
        data: Class folders or a manifest CSV; images of its test split are not opened. Without one it is
            split off first, as `train` would, and left out.
        out: The folder of the search.
        recipe: The settings to start from, or their name or file; the recipe's own are the first trial.
        space: What may be changed; by default what the table [search] of the recipe's file declares.
        trials: How many in all, those of earlier calls included.
        folds: K, 2 or more.
        model: Its held-out log loss is the score; settings that cannot change this model are not searched.
        console: Where progress is shown; quiet by default.

    Returns:
        The folder `out`.

    Raises:
        TumorboardError: A subclass, see `tumorboard.errors`.
    """
    optional.require("tune", "optuna", extra="tune")
    source, declared = DataSource.of(data), space or {}
    if isinstance(recipe, str):
        name, recipe = recipe, config.load(recipe)
        declared = search_space.load(name, recipe) if space is None else declared
    space = _searched(declared, recipe, model, trials, folds)
    folder, console = RunFolder(Path(out)), console or Console(quiet=True)
    refuse_cross_validation(folder)
    with (
        progress.graceful(),
        run_folder.locked(folder),
        # A trial may be pruned, or repeat an earlier one.
        console.overall(_plan(recipe, model, trials, folds), may_end_early=map(_title, range(1, trials + 1))),
        run_state.recorded(folder, console),
    ):
        if "test" not in manifest.splits(source.path, source.class_map):
            source = _with_test_split(source, RunFolder(folder.root / "split"), recipe, console)
        known = manifest.load(source, leave_out="test", frames=recipe.image.frames).manifest
        recipe = recipe.model_copy(update={"image": find_depth(recipe.image, known, console)})
        now = fingerprint.take(recipe, known)
        now["settings"] |= {"--model": model, "--folds": folds}
        now["settings"] |= {f"search.{setting}": str(values) for setting, values in space.items()}
        now["environment"]["optuna"] = version("optuna")
        fingerprint.require_same(folder, now)
        dealt = folder.root / "folds"
        if not folder.fingerprint.is_file():  # these are of a start that did not get as far as here
            shutil.rmtree(dealt, ignore_errors=True)
        with console.phase("folds"):
            manifests = cross_validation.deal_folds(source, dealt, recipe, folds, console=console)
        storage.write_json(folder.fingerprint, now)
        groups = {entry.id: entry.group for entry in manifest.list_csv(manifests[0]).entries if entry.group}
        Search(folder, recipe, space, model, manifests, groups, console).run(trials)
        shutil.rmtree(folder.cache, ignore_errors=True)
    return folder


def _title(trial: int) -> str:
    return f"trial-{trial}"


def _plan(recipe: Recipe, model: str, trials: int, folds: int) -> Plan:
    """The steps of the search, with their expected durations: as long for every trial as with the recipe."""
    names = (*recipe.dependencies(model), model)
    of_fold: Plan = {name: model_tasks(recipe, name) for name in names}
    of_trial = {f"fold-{k}": of_fold for k in range(1, folds + 1)}
    return {"folds": 10.0, **{_title(number): of_trial for number in range(1, trials + 1)}}


def _with_test_split(source: DataSource, split: RunFolder, recipe: Recipe, console: Console) -> DataSource:
    """Split the data as `train` would, in a folder that keeps the manifest of it."""
    with run_folder.locked(split):
        prepare(source, split, recipe, console)
        shutil.rmtree(split.cache, ignore_errors=True)
    return DataSource(split.manifest, skip_bad=source.skip_bad)


def _searched(space: Space, recipe: Recipe, model: str, trials: int, folds: int) -> Space:
    """Check the numbers, and return the part of the space that can change the model that is scored."""
    names = recipe.names
    if model not in names:
        raise UsageError(f"expected one of the models {', '.join(names)} as --model, found {model[:60]!r}")
    if folds < 2 or trials < 1:
        raise UsageError(f"expected 2 or more --folds and 1 or more --trials, found {folds} and {trials}")
    searched = search_space.bearing_on(space, recipe, model)
    if not searched:
        declared = f"of {', '.join(space)}" if space else "nothing"
        raise RecipeError(
            f"expected settings in the recipe's table [search] that can change {model}, found {declared}; "
            "add some, or choose another --model"
        )
    return searched


@dataclass(frozen=True)
class Search:
    """A search in its folder.

    Attributes:
        folder: Where trials and results are kept.
        recipe: The settings of the first trial.
        space: What is searched.
        model: The model that is scored.
        manifests: One per fold, with the fold in the place of test.
        groups: By image id, of images that have one.
        console: Where progress is shown.
    """

    folder: RunFolder
    recipe: Recipe
    space: Space
    model: str
    manifests: Sequence[Path]
    groups: Mapping[str, str]
    console: Console

    @property
    def record(self) -> Path:
        """All trials, an unfinished one last."""
        return self.folder.root / "state" / "trials.json"

    def trial_folder(self, number: int) -> Path:
        """The runs of a trial, one per fold."""
        return self.folder.root / "trials" / _title(number)

    def run(self, trials: int) -> None:
        """Carry out trials until there are so many, those on record included."""
        recorded = self.read_trials()
        done = [trial for trial in recorded if trial.state != "begun"]
        begun = recorded[len(done) :]
        for number in range(1, len(done) + 1):
            self.console.finish(_title(number), measured=False)
        while len(done) < trials:
            with self.console.phase(_title(len(done) + 1)):
                done.append(run_trial(self, done, begun[0].values if begun else {}))
            begun = []
            self.write_results(done)
            last, best = done[-1], best_trial(done)
            result = f", log loss {last.losses[-1]:.3f}" if last.losses else f": {last.reason}"
            self.console.print(
                f"trial {len(done)} {last.state}{result}; best so far trial {best + 1}, "
                f"{done[best].losses[-1]:.3f}; {trials - len(done)} more"
            )
        self.write_results(done)

    def read_trials(self) -> list[Trial]:
        """Read the trials so far."""
        if not self.record.is_file():
            return []
        try:
            return trials_from_json(json.loads(self.record.read_text("utf-8")))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise RunFolderError(
                f"expected the trials so far in {display(self.record)}, found nothing readable; "
                "restore the file or choose another --out"
            ) from error

    def write_results(self, trials: Sequence[Trial]) -> None:
        """Write the record, and then everything that can be made from it."""
        folder, name = self.folder, self.folder.root.absolute().name
        storage.write_json(self.record, trials_to_json(trials))
        tuning = Tuning(name, self.recipe, self.model, len(self.manifests), trials)
        storage.write_text(folder.root / "trials.csv", trials_to_csv(trials))
        storage.write_text(folder.recipe, recipe_toml(tuning))
        storage.write_text(folder.metrics, tuning_json(tuning))
        write_report(tuning_report(tuning), folder, tuning_summary(tuning))


def run_trial(search: Search, earlier: Sequence[Trial], given: Mapping[str, Value]) -> Trial:
    """Carry out one trial, from its settings to its score; `given` are those of an interrupted one."""
    own = {name: search_space.value(search.recipe, name) for name in search.space}
    types = {name: type(value) for name, value in own.items()}
    proposal = propose(search.space, types, earlier, search.recipe.seed, given or ({} if earlier else own))
    storage.write_json(search.record, trials_to_json([*earlier, Trial(proposal.values)]))
    number = len(earlier) + 1
    search.console.print(f"trial {number}: {settings_text(proposal.values)}")
    for trial in earlier:
        if trial.values == proposal.values:
            return trial  # the same settings, the same bits
    try:
        return _score(search, number, proposal)
    except (RecipeError, ModelError, TrainingError) as error:
        if not earlier:
            raise  # the recipe itself cannot be trained
        for fold in search.trial_folder(number).glob("fold-*"):
            _delete_models(RunFolder(fold), search.model)
        return Trial(proposal.values, "failed", reason=str(error))


def _score(search: Search, number: int, proposal: "Proposal") -> Trial:
    """Train on each fold and score all held-out predictions; stop early if that is clearly worse."""
    recipe = search_space.with_values(search.recipe, proposal.values)
    state: State = "complete"
    held_out: list[Predictions] = []
    losses: list[float] = []
    for k, file in enumerate(search.manifests, start=1):
        progress.stop_if_asked()
        fold = RunFolder(search.trial_folder(number) / f"fold-{k}")
        with search.console.phase(fold.root.name):
            held_out.append(_predict_fold(search, file, fold, recipe))
        so_far = combination.concatenate(held_out)
        losses.append(metrics.log_loss(so_far.labels, so_far.probabilities))
        if k < len(search.manifests) and proposal.should_prune(losses[-1], k):
            state = "pruned"
            break
    if any(name.startswith("image.") for name in search.space):
        shutil.rmtree(search.folder.cache, ignore_errors=True)  # the next trial's images may differ
    scores = score(so_far, search.groups)
    return Trial(proposal.values, state, tuple(losses), scores.loss, scores.accuracy)


def _predict_fold(search: Search, file: Path, run: RunFolder, recipe: Recipe) -> Predictions:
    """Predict a fold with a model trained without it; the run's models and its cache are not kept.

    Cached views of frozen layers are handed on: the next trial of this fold finds them by its settings, if
    these are the same.
    """
    if not run.predictions(search.model, "test").is_file():
        views = search.folder.cache / "views" / file.stem
        with run_folder.locked(run):
            context = prepare(file, run, recipe, search.console, cache=search.folder.cache)
            _move(views, run.cache)
            _train(context, search.model)
        if _fits(run.cache, len(search.manifests), recipe):
            _move(run.cache, views)
    _delete_models(run, search.model)
    return read_predictions(run, search.model, "test")


def _train(context: RunContext, model: str) -> None:
    import keras  # seconds to import, only once the data is known to be good

    from tumorboard.training import fit
    from tumorboard.workflows import build_models

    fit.prepare_backend(context.recipe.seed, fingerprint.threads(context.recipe))
    for name in (*context.recipe.dependencies(model), model):
        with context.phase(name):
            build_models.build_model(context, name)
    build_models.predict_splits(context, model, "test")  # the fold
    keras.utils.clear_session()  # or the graphs of all runs stay in memory


def _move(views: Path, to: Path) -> None:
    if views.is_dir() and not to.exists():
        to.parent.mkdir(parents=True, exist_ok=True)
        views.rename(to)


def _fits(views: Path, folds: int, recipe: Recipe) -> bool:
    """Whether the views of all folds together fit the disk space that the recipe allows one training."""
    trainings = [settings.training for settings in (*recipe.models.values(), recipe.chained)]
    limit = max(training.cache_gb for training in trainings) * 1e9
    return sum(file.stat().st_size for file in views.rglob("*.npy")) * folds <= limit


def _delete_models(run: RunFolder, model: str) -> None:
    for folder in (run.cache, run.model(model).parent):
        shutil.rmtree(folder, ignore_errors=True)


class Proposal:
    """The settings of a trial that Optuna proposes, and whether Optuna would prune the trial.

    Args:
        trial: Optuna's trial.
    """

    def __init__(self, trial: Any) -> None:
        self._trial = trial
        self.values: dict[str, Value] = dict(trial.params)

    def should_prune(self, loss: float, folds: int) -> bool:
        """Whether the loss is worse than the median of the earlier trials on as many folds."""
        if folds < _FOLDS_BEFORE_PRUNING:
            return False
        self._trial.report(loss, folds)
        return bool(self._trial.should_prune())


def propose(
    space: Space,
    types: Mapping[str, type],
    earlier: Sequence[Trial],
    seed: int,
    given: Mapping[str, Value] = {},
) -> Proposal:
    """Propose the next trial; depends on these arguments alone.

    Args:
        space: What is searched.
        types: By setting the type of its values; a range of int holds whole numbers.
        earlier: All trials before it, each of them finished.
        seed: Of the search; each trial draws from a seed of its own.
        given: Its settings, if they are known; drawn by a tree-structured Parzen estimator if not.
    """
    import optuna
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions: dict[str, Any] = {}
    for name, values in space.items():
        if not isinstance(values, Range):
            distributions[name] = optuna.distributions.CategoricalDistribution(values)
        elif types[name] is int:
            low, high = int(values.low), int(values.high)
            distributions[name] = optuna.distributions.IntDistribution(low, high, log=values.log)
        else:
            distributions[name] = optuna.distributions.FloatDistribution(
                values.low, values.high, log=values.log
            )
    own_seed = int(np.random.SeedSequence([seed, len(earlier)]).generate_state(1)[0])
    study = optuna.create_study(
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=own_seed),
        pruner=optuna.pruners.MedianPruner(_TRIALS_BEFORE_PRUNING, _FOLDS_BEFORE_PRUNING),
    )
    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    for trial in earlier:
        losses = dict(enumerate(trial.losses, start=1))
        study.add_trial(
            optuna.trial.create_trial(
                state=states[trial.state],
                params=dict(trial.values),
                distributions=distributions,
                value=trial.losses[-1] if trial.state == "complete" else None,
                intermediate_values={k: loss for k, loss in losses.items() if k >= _FOLDS_BEFORE_PRUNING},
            )
        )
    if given:
        study.enqueue_trial(dict(given))
    return Proposal(study.ask(distributions))
