"""Tuning: settings from a recipe's search space are tried, each scored on held-out folds; test stays closed.

What is tried next depends on the seed and the trials before it alone, and what is done is not done again: a
study that was interrupted, or killed, ends as it would have ended.
"""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tumorboard import interruption, locking, search, storage
from tumorboard.console import Console
from tumorboard.data import manifest, tables
from tumorboard.errors import RecipeError, RunFolderError, UsageError
from tumorboard.pipeline import drawing, fingerprint, folding, trying
from tumorboard.pipeline.prepare import find, prepare
from tumorboard.pipeline.train import refuse_a_study
from tumorboard.pipeline.trying import Study
from tumorboard.recipe import Recipe
from tumorboard.reporting import trials as records
from tumorboard.reporting.trials import Trial
from tumorboard.reporting.tuning import Tuning, recipe_toml, tuning_json, tuning_md
from tumorboard.runfolder import RunFolder
from tumorboard.search import Space

_QUIET = Console(quiet=True)
_Classes = dict[str, Any]


def tune(
    source: str | Path,
    out: str | Path,
    recipe: Recipe,
    space: Space,
    *,
    trials: int = 20,
    folds: int = 5,
    model: str = "ensemble",
    class_map: Mapping[str, Sequence[str]] = {},
    merge: Mapping[str, Sequence[str]] = {},
    skip_bad: bool = False,
    console: Console | None = None,
) -> RunFolder:
    """Try settings of a recipe, and leave the best as `recipe.toml` in the folder `out`.

    A repeated call goes on where it stopped; with more trials it adds to those that are done.

    Args:
        source: Class folders, or a manifest CSV; images of its test part are not opened. Without one it is
            split off first, as `train` would, and left out.
        out: The folder of the study.
        recipe: The settings to start from; its own are the first trial.
        space: What may be changed, from `search.load`.
        trials: How many in all, those of earlier calls included.
        folds: K, 2 or more.
        model: Whose held-out log loss is the score; what cannot change this model is not searched.
        class_map: As for `train`.
        merge: As for `train`.
        skip_bad: As for `train`.
        console: Where progress is shown; quiet by default.

    Raises:
        TumorboardError: One of its kinds, see `tumorboard.errors`.
    """
    drawing.require()
    space = _searched(space, recipe, model, trials, folds)
    whole, console, how = RunFolder(Path(out)), console or _QUIET, {"class_map": class_map, "merge": merge}
    refuse_a_study(whole)
    with interruption.graceful(), locking.locked(whole):
        pool, how = _pool(Path(source), whole, recipe, console, skip_bad, how)
        samples = find(pool, _QUIET, **how, leave_out="test").manifest
        now = _fingerprint(recipe, space, model, folds, samples)
        fingerprint.require_same(whole, now)
        dealt = whole.root / "folds"
        if not whole.fingerprint.is_file():
            shutil.rmtree(dealt, ignore_errors=True)  # of a start that did not get as far as here
        files = folding.deal(pool, dealt, recipe, folds, **how, skip_bad=skip_bad, console=console)
        storage.write_json(whole.fingerprint, now)
        groups = {entry.id: entry.group for entry in tables.read(files[0]).entries if entry.group}
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
    found = search.bearing_on(space, recipe, model)
    if not found:
        declared = f"of {', '.join(space)}" if space else "nothing"
        raise RecipeError(
            f"expected settings in the recipe's table [search] that can change {model}, found {declared}; "
            "add some, or choose another --model"
        )
    return found


def _pool(
    source: Path, whole: RunFolder, recipe: Recipe, console: Console, skip_bad: bool, how: _Classes
) -> tuple[Path, _Classes]:
    """The images, with test as it is given or as `train` would split it off; how to read their classes."""
    if "test" in manifest.parts(source):
        return source, how
    split = RunFolder(whole.root / "split")
    with locking.locked(split):
        prepare(source, split, recipe, console, **how, skip_bad=skip_bad)
        shutil.rmtree(split.cache, ignore_errors=True)
    return split.manifest, {"class_map": {}, "merge": {}}


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
        done.append(trying.attempt(study, done, begun[0].values if begun else {}))
        begun = []
        _write(study, done)
        each = (time.monotonic() - clock) / (len(done) - before) / 60
        study.console.say(f"{_told(done)}; {trials - len(done)} more, about {each:.1f} min each")
    _write(study, done)


def _read(record: Path) -> list[Trial]:
    if not record.is_file():
        return []
    try:
        return records.from_json(json.loads(record.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(
            f"expected the trials so far in {storage.shown(record)}, found nothing readable; "
            "restore the file or choose another --out"
        ) from error


def _write(study: Study, trials: Sequence[Trial]) -> None:
    """The record first: everything else can be made of it."""
    whole = study.whole
    storage.write_json(study.record, records.to_json(trials))
    tuning = Tuning(whole.root.absolute().name, study.recipe, study.model, len(study.files), trials)
    storage.write_text(whole.root / "trials.csv", records.to_csv(trials))
    storage.write_text(whole.recipe, recipe_toml(tuning))
    storage.write_text(whole.metrics, tuning_json(tuning))
    storage.write_text(whole.results, tuning_md(tuning))


def _told(trials: Sequence[Trial]) -> str:
    last, best = trials[-1], records.best(trials)
    figure = f", log loss {last.losses[-1]:.3f}" if last.losses else f": {last.reason}"
    lowest = f"best so far trial {best + 1}, {trials[best].losses[-1]:.3f}"
    return f"trial {len(trials)} {last.state}{figure}; {lowest}"
