"""What the next trial tries, and whether one that has begun is worth going on with: Optuna decides.

Optuna keeps nothing: its study is built anew, in memory, for each trial from the trials so far. So a study
that was killed goes on as it would have gone on, and no second record can fall out of step with ours.
"""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tumorboard import optional, progress, run_folder, search_space, storage
from tumorboard.config import Recipe
from tumorboard.data import manifest
from tumorboard.data.manifest import DataSource
from tumorboard.ensembles import combination
from tumorboard.errors import ModelError, RecipeError, RunFolderError, TrainingError, UsageError
from tumorboard.evaluation import metrics
from tumorboard.evaluation.scores import evaluate
from tumorboard.predictions import Predictions
from tumorboard.progress import Console
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
)
from tumorboard.run_folder import RunFolder
from tumorboard.search_space import Range, Space, Value
from tumorboard.workflows import cross_validation, fingerprint
from tumorboard.workflows.prepare import find, prepare
from tumorboard.workflows.run_context import RunContext, read_predictions
from tumorboard.workflows.run_plan import refuse_cross_validation

_PATIENT_TRIALS = 5  # none is pruned before so many are complete
_PATIENT_FOLDS = 2  # nor on fewer folds


class Drawn:
    """The settings of a trial, and a judge of how it goes."""

    def __init__(self, trial: Any) -> None:
        self._trial = trial
        self.values: dict[str, Value] = dict(trial.params)

    def hopeless(self, loss: float, folds: int) -> bool:
        """Whether it is worse than the median of the earlier trials on as many folds."""
        if folds < _PATIENT_FOLDS:
            return False
        self._trial.report(loss, folds)
        return bool(self._trial.should_prune())


def draw(
    space: Space,
    kinds: Mapping[str, type],
    earlier: Sequence[Trial],
    seed: int,
    given: Mapping[str, Value] = {},
) -> Drawn:
    """The next trial; depends on these arguments alone.

    Args:
        space: What may be searched.
        kinds: By setting the type of its values: a range of whole numbers, or of any.
        earlier: All trials before it, each of them finished.
        seed: Of the study; each trial draws from a seed of its own.
        given: Its settings, if they are known; drawn by a tree-structured Parzen estimator if not.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    own_seed = int(np.random.SeedSequence([seed, len(earlier)]).generate_state(1)[0])
    study = optuna.create_study(
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=own_seed),
        pruner=optuna.pruners.MedianPruner(_PATIENT_TRIALS, _PATIENT_FOLDS),
    )
    distributions = {name: _distribution(one, kinds[name]) for name, one in space.items()}
    study.add_trials([_told(one, distributions) for one in earlier])
    if given:
        study.enqueue_trial(dict(given))
    return Drawn(study.ask(distributions))


def _distribution(one: Range | list[Value], kind: type) -> Any:
    from optuna import distributions

    if not isinstance(one, Range):
        return distributions.CategoricalDistribution(one)
    if kind is int:
        return distributions.IntDistribution(int(one.low), int(one.high), log=one.log)
    return distributions.FloatDistribution(one.low, one.high, log=one.log)


def _told(one: Trial, distributions: Mapping[str, Any]) -> Any:
    """A finished trial as Optuna knows it."""
    from optuna.trial import TrialState, create_trial

    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    reported = {folds: loss for folds, loss in enumerate(one.losses, start=1) if folds >= _PATIENT_FOLDS}
    return create_trial(
        state=states[one.state],
        params=dict(one.values),
        distributions=dict(distributions),
        value=one.losses[-1] if one.state == "complete" else None,
        intermediate_values=reported,
    )


@dataclass(frozen=True)
class Study:
    """What every trial needs: a manifest a fold, and by image the group that it belongs to."""

    whole: RunFolder
    recipe: Recipe
    space: Space
    model: str
    files: Sequence[Path]
    groups: Mapping[str, str]
    console: Console

    @property
    def record(self) -> Path:
        """All trials, the one in hand last."""
        return self.whole.root / "state" / "trials.json"


def attempt(study: Study, earlier: Sequence[Trial], given: Mapping[str, Value]) -> Trial:
    """One trial, from drawing its settings to its score; `given` are those of one that was interrupted."""
    own = {name: search_space.value(study.recipe, name) for name in study.space}
    kinds = {name: type(value) for name, value in own.items()}
    drawn = draw(study.space, kinds, earlier, study.recipe.seed, given or ({} if earlier else own))
    storage.write_json(study.record, trials_to_json([*earlier, Trial(drawn.values)]))
    number = len(earlier) + 1
    study.console.print(f"trial {number}: {settings_text(drawn.values)}")
    for one in earlier:
        if one.values == drawn.values:
            return one  # the same settings, the same bits
    try:
        return _judged(study, number, drawn)
    except (RecipeError, ModelError, TrainingError) as error:
        if not earlier:
            raise  # the recipe itself cannot be trained
        for fold in _folder(study, number).glob("fold-*"):
            _tidy(RunFolder(fold), study.model)
        return Trial(drawn.values, "failed", reason=str(error))


def _judged(study: Study, number: int, drawn: Drawn) -> Trial:
    recipe = search_space.with_values(study.recipe, drawn.values)
    state: State = "complete"
    folder, held, losses = _folder(study, number), list[Predictions](), list[float]()
    for k, file in enumerate(study.files, start=1):
        progress.stop_if_asked()
        study.console.print(f"trial {number}, fold {k} of {len(study.files)}")
        held.append(_held_out(study, file, RunFolder(folder / f"fold-{k}"), recipe))
        so_far = combination.concatenate(held)
        losses.append(metrics.log_loss(so_far.labels, so_far.probabilities))
        if k < len(study.files) and drawn.hopeless(losses[-1], k):
            state = "pruned"
            break
    if any(name.startswith("image.") for name in study.space):
        shutil.rmtree(study.whole.cache, ignore_errors=True)  # the next trial's images may be others
    scores = evaluate(so_far, study.groups)
    return Trial(drawn.values, state, tuple(losses), scores.loss, scores.accuracy)


def _folder(study: Study, number: int) -> Path:
    return study.whole.root / "trials" / f"trial-{number}"


def _held_out(study: Study, file: Path, run: RunFolder, recipe: Recipe) -> Predictions:
    """What a model says of a fold, trained without it; of the run its networks and its cache are not kept."""
    if not run.predictions(study.model, "test").is_file():
        views = study.whole.cache / "views" / file.stem
        with run_folder.locked(run):
            context = prepare(file, run, recipe, study.console, images=study.whole.cache)
            _move(views, run.cache)
            _train(context, study.model)
        if _fits(run.cache, len(study.files), recipe):
            _move(run.cache, views)
    _tidy(run, study.model)
    return read_predictions(run, study.model, "test")


def _move(views: Path, to: Path) -> None:
    """Hand on what is frozen: the next trial of a fold finds it by its settings, if they are the same."""
    if views.is_dir() and not to.exists():
        to.parent.mkdir(parents=True, exist_ok=True)
        views.rename(to)


def _fits(views: Path, folds: int, recipe: Recipe) -> bool:
    """Whether so much of every fold is within the disk for views that the recipe allows a training."""
    most = max(one.training.cache_gb for one in (*recipe.models.values(), recipe.chained))
    return sum(file.stat().st_size for file in views.rglob("*.npy")) * folds <= most * 1e9


def _tidy(run: RunFolder, model: str) -> None:
    for rest in (run.cache, run.model(model).parent):
        shutil.rmtree(rest, ignore_errors=True)


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


_QUIET = Console(quiet=True)


def tune(
    data: str | Path | DataSource,
    out: str | Path,
    recipe: Recipe,
    space: Space,
    *,
    trials: int = 20,
    folds: int = 5,
    model: str = "ensemble",
    console: Console | None = None,
) -> RunFolder:
    """Try settings of a recipe, and leave the best as `recipe.toml` in the folder `out`.

    A repeated call goes on where it stopped; with more trials it adds to those that are done.

    Args:
        data: Class folders or a manifest CSV; images of its test part are not opened. Without one it is
            split off first, as `train` would, and left out.
        out: The folder of the study.
        recipe: The settings to start from; its own are the first trial.
        space: What may be changed, from `search_space.load`.
        trials: How many in all, those of earlier calls included.
        folds: K, 2 or more.
        model: Whose held-out log loss is the score; what cannot change this model is not searched.
        console: Where progress is shown; quiet by default.

    Raises:
        TumorboardError: One of its kinds, see `tumorboard.errors`.
    """
    optional.require("tune", "optuna", extra="tune")
    space = _searched(space, recipe, model, trials, folds)
    whole, console = RunFolder(Path(out)), console or _QUIET
    refuse_cross_validation(whole)
    with progress.graceful(), run_folder.locked(whole):
        pool = _pool(DataSource.of(data), whole, recipe, console)
        samples = find(pool, _QUIET, leave_out="test").manifest
        now = _fingerprint(recipe, space, model, folds, samples)
        fingerprint.require_same(whole, now)
        dealt = whole.root / "folds"
        if not whole.fingerprint.is_file():
            shutil.rmtree(dealt, ignore_errors=True)  # of a start that did not get as far as here
        files = cross_validation.deal_folds(pool, dealt, recipe, folds, console=console)
        storage.write_json(whole.fingerprint, now)
        groups = {entry.id: entry.group for entry in manifest.list_csv(files[0]).entries if entry.group}
        _search(Study(whole, recipe, space, model, files, groups, console), trials)
        shutil.rmtree(whole.cache, ignore_errors=True)
    return whole


def _searched(space: Space, recipe: Recipe, model: str, trials: int, folds: int) -> Space:
    """The part of the space that can change the model that is scored."""
    names = recipe.names
    if model not in names:
        raise UsageError(f"expected one of the models {', '.join(names)} as --model, found {model[:60]!r}")
    if folds < 2 or trials < 1:
        raise UsageError(f"expected 2 or more --folds and 1 or more --trials, found {folds} and {trials}")
    found = search_space.bearing_on(space, recipe, model)
    if not found:
        declared = f"of {', '.join(space)}" if space else "nothing"
        raise RecipeError(
            f"expected settings in the recipe's table [search] that can change {model}, found {declared}; "
            "add some, or choose another --model"
        )
    return found


def _pool(data: DataSource, whole: RunFolder, recipe: Recipe, console: Console) -> DataSource:
    """The images, with test as it is given or as `train` would split it off."""
    if "test" in manifest.splits(data.path):
        return data
    split = RunFolder(whole.root / "split")
    with run_folder.locked(split):
        prepare(data, split, recipe, console)
        shutil.rmtree(split.cache, ignore_errors=True)
    return DataSource(split.manifest, skip_bad=data.skip_bad)


def _fingerprint(
    recipe: Recipe, space: Space, model: str, folds: int, samples: manifest.Manifest
) -> fingerprint.Fingerprint:
    now = fingerprint.take(recipe, samples)
    searched = {f"search.{name}": str(one) for name, one in space.items()}
    now["settings"] |= {"--model": model, "--folds": folds, **searched}
    now["environment"]["optuna"] = version("optuna")
    return now


def _search(study: Study, trials: int) -> None:
    known = _read(study.record)
    done = [one for one in known if one.state != "begun"]
    begun, clock, before = known[len(done) :], time.monotonic(), len(done)
    while len(done) < trials:
        done.append(attempt(study, done, begun[0].values if begun else {}))
        begun = []
        _write(study, done)
        each = (time.monotonic() - clock) / (len(done) - before) / 60
        study.console.print(f"{_told_best(done)}; {trials - len(done)} more, about {each:.1f} min each")
    _write(study, done)


def _read(record: Path) -> list[Trial]:
    if not record.is_file():
        return []
    try:
        return trials_from_json(json.loads(record.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(
            f"expected the trials so far in {storage.shown(record)}, found nothing readable; "
            "restore the file or choose another --out"
        ) from error


def _write(study: Study, trials: Sequence[Trial]) -> None:
    """The record first: everything else can be made of it."""
    whole = study.whole
    storage.write_json(study.record, trials_to_json(trials))
    tuning = Tuning(whole.root.absolute().name, study.recipe, study.model, len(study.files), trials)
    storage.write_text(whole.root / "trials.csv", trials_to_csv(trials))
    storage.write_text(whole.recipe, recipe_toml(tuning))
    storage.write_text(whole.metrics, tuning_json(tuning))
    write_report(tuning_report(tuning), whole)


def _told_best(trials: Sequence[Trial]) -> str:
    last, best = trials[-1], best_trial(trials)
    figure = f", log loss {last.losses[-1]:.3f}" if last.losses else f": {last.reason}"
    lowest = f"best so far trial {best + 1}, {trials[best].losses[-1]:.3f}"
    return f"trial {len(trials)} {last.state}{figure}; {lowest}"
