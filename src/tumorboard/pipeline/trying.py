"""One trial of tuning: its settings drawn, its model trained once a fold, its score from what was held out.

Of a fold that is done the predictions are there, and it is not done again.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tumorboard import interruption, locking, search, storage
from tumorboard.combining import rules
from tumorboard.console import Console
from tumorboard.errors import ModelError, RecipeError, TrainingError
from tumorboard.evaluation import metrics
from tumorboard.evaluation.score import evaluate
from tumorboard.pipeline import drawing, fingerprint
from tumorboard.pipeline.drawing import Drawn
from tumorboard.pipeline.job import Job, predictions
from tumorboard.pipeline.prepare import prepare
from tumorboard.predictions import Predictions
from tumorboard.recipe import Recipe
from tumorboard.reporting import trials as records
from tumorboard.reporting.trials import State, Trial
from tumorboard.runfolder import RunFolder
from tumorboard.search import Space, Value


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
    own = {name: search.value(study.recipe, name) for name in study.space}
    kinds = {name: type(value) for name, value in own.items()}
    drawn = drawing.draw(study.space, kinds, earlier, study.recipe.seed, given or ({} if earlier else own))
    storage.write_json(study.record, records.to_json([*earlier, Trial(drawn.values)]))
    number = len(earlier) + 1
    study.console.say(f"trial {number}: {records.settings(drawn.values)}")
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
    recipe = search.with_values(study.recipe, drawn.values)
    state: State = "complete"
    folder, held, losses = _folder(study, number), list[Predictions](), list[float]()
    for k, file in enumerate(study.files, start=1):
        interruption.stop_if_asked()
        study.console.say(f"trial {number}, fold {k} of {len(study.files)}")
        held.append(_held_out(study, file, RunFolder(folder / f"fold-{k}"), recipe))
        so_far = rules.together(held)
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
        with locking.locked(run):
            job = prepare(file, run, recipe, study.console, images=study.whole.cache)
            _move(views, run.cache)
            _train(job, study.model)
        if _fits(run.cache, len(study.files), recipe):
            _move(run.cache, views)
    _tidy(run, study.model)
    return predictions(run, study.model, "test")


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


def _train(job: Job, model: str) -> None:
    import keras  # seconds to import, only once the data is known to be good

    from tumorboard.pipeline import board
    from tumorboard.training import backend

    backend.prepare(job.recipe.seed, fingerprint.threads(job.recipe))
    for name in (*job.recipe.made_of(model), model):
        with job.phase(name):
            board.make(job, name)
    board.predict(job, model, "test")  # the fold
    keras.utils.clear_session()  # or the graphs of all runs stay in memory
