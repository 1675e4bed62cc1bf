"""Hyperparameter search: its trials as a record, their JSON and CSV, its report, and the tuned recipe."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from tumorboard import NOTICE
from tumorboard.config import Recipe, dump
from tumorboard.errors import plural
from tumorboard.evaluation.intervals import Estimate
from tumorboard.predictions import neutralised
from tumorboard.reports.document import (
    UNDEFINED,
    Block,
    Cell,
    Code,
    Document,
    Paragraph,
    Section,
    Table,
    in_words,
)
from tumorboard.reports.run_results import as_json
from tumorboard.search_space import Value, with_values

FORMAT_VERSION = 2

State = Literal["begun", "complete", "pruned", "failed"]


@dataclass(frozen=True)
class Trial:
    """Settings that were tried.

    Attributes:
        values: By the setting's name.
        state: "pruned" after some folds as clearly worse than others, "failed" when no model came of it.
        losses: After each fold the mean log loss, in nats, of all images held out so far.
        loss: The last of them with its n and interval; None while there is none.
        accuracy: Of the same images.
        reason: Why it failed.
    """

    values: Mapping[str, Value]
    state: State = "begun"
    losses: tuple[float, ...] = ()
    loss: Estimate | None = None
    accuracy: Estimate | None = None
    reason: str = ""


@dataclass(frozen=True)
class Tuning:
    """A hyperparameter search.

    Attributes:
        name: Of its folder.
        recipe: The recipe that was tuned.
        model: Whose held-out predictions were scored.
        folds: How many.
        trials: At least one of them complete; the first has the recipe's own settings.
    """

    name: str
    recipe: Recipe
    model: str
    folds: int
    trials: Sequence[Trial]

    @property
    def optimism(self) -> str:
        """What to know about the best trial's score."""
        if len(self.trials) == 1:
            return "One trial: nothing was chosen."
        return (
            f"It is the best of {len(self.trials)} trials on the images that chose it, so its score is "
            "optimistic, and its interval does not include that."
        )


def best_trial(trials: Sequence[Trial]) -> int:
    """Return the place of the complete trial of lowest log loss, of equal ones the first; one must exist."""
    losses = {i: trial.losses[-1] for i, trial in enumerate(trials) if trial.state == "complete"}
    return min(losses, key=lambda i: losses[i])


def trials_to_json(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """Return plain dicts, numbered from 1."""
    return [{"trial": number, **asdict(trial)} for number, trial in enumerate(trials, start=1)]


def trials_from_json(content: Sequence[Mapping[str, Any]]) -> list[Trial]:
    """Return what `trials_to_json` was given; raise ValueError, KeyError or TypeError on anything else."""
    trials = []
    for row in content:
        values = {key: value for key, value in row.items() if key != "trial"}
        if set(values) != {field.name for field in fields(Trial)}:
            raise KeyError(f"expected a trial, found {sorted(values)}")
        for key in ("loss", "accuracy"):
            values[key] = None if values[key] is None else Estimate(**values[key])
        trials.append(Trial(**{**values, "losses": tuple(values["losses"])}))
    return trials


def trials_to_csv(trials: Sequence[Trial]) -> str:
    """Return a row per trial: number, state, log loss and accuracy with n and 95% CI, settings."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.values))
    columns = [f"{metric}{end}" for metric in ("log_loss", "accuracy") for end in ("", "_low", "_high")]
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["trial", "state", "folds", "n", *columns, *names, "reason"])
    for number, trial in enumerate(trials, start=1):
        n = trial.loss.n if trial.loss else 0
        estimates = [
            value
            for estimate in (trial.loss, trial.accuracy)
            for value in ((estimate.value, estimate.low, estimate.high) if estimate else (None, None, None))
        ]
        values = [trial.values.get(name, "") for name in names]
        settings = [neutralised(value) if isinstance(value, str) else json.dumps(value) for value in values]
        row = [number, trial.state, len(trial.losses), n, *estimates, *settings, neutralised(trial.reason)]
        writer.writerow(row)
    return file.getvalue()


def settings_text(values: Mapping[str, Value]) -> str:
    """Return settings on a line."""
    return ", ".join(f"{name} = {_value_text(value)}" for name, value in values.items())


def _value_text(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def recipe_toml(tuning: Tuning) -> str:
    """Return the best trial's recipe, every setting written out; comments tell where it comes from."""
    best = best_trial(tuning.trials)
    winner = tuning.trials[best]
    origin = f"trial {best + 1} of {len(tuning.trials)} of the search {tuning.name}"
    score = f"{_score(winner)} of {tuning.model}, held out in {tuning.folds} folds"
    lines = [
        f"Made by tumorboard tune from the recipe {tuning.recipe.name}: {origin}.",
        f"{score}.",
        tuning.optimism,
        *(f"{name} = {json.dumps(value)}" for name, value in winner.values.items()),
    ]
    comments = "".join(f"# {' '.join(line.split())}\n" for line in lines)
    described = {
        "name": f"{tuning.recipe.name}-tuned",
        "description": f"{origin}: {score}. {tuning.optimism}",
    }
    return comments + dump(with_values(tuning.recipe, winner.values).model_copy(update=described))


def tuning_json(tuning: Tuning) -> str:
    """Return every trial as JSON text."""
    return as_json(
        {
            "format_version": FORMAT_VERSION,
            "notice": NOTICE,
            "model": tuning.model,
            "folds": tuning.folds,
            "score": "mean log loss, in nats, of held-out images; lower is better",
            "best": best_trial(tuning.trials) + 1,
            "optimism": tuning.optimism,
            "trials": trials_to_json(tuning.trials),
        }
    )


def tuning_summary(tuning: Tuning) -> Document:
    """Compose what `tune` prints at its end."""
    title = f"Hyperparameter search of {tuning.recipe.name}, {plural(len(tuning.trials), 'trial')}"
    return Document(title, [NOTICE], [Section("Best settings", _best_blocks(tuning))])


def _best_blocks(tuning: Tuning) -> list[Block]:
    best = best_trial(tuning.trials)
    winner, own = tuning.trials[best], tuning.trials[0]
    verdict = f"Best: trial {best + 1}, {_score(winner)}; the recipe's own settings (trial 1): {_score(own)}."
    if not best:
        verdict = f"No trial was better than the recipe's own settings (trial 1): {_score(own)}."
    settings = [
        [name, _value_text(own.values[name]), _value_text(value)] for name, value in winner.values.items()
    ]
    return [
        Paragraph(
            f"Each trial was scored by the log loss of {tuning.model} on images held out in "
            f"{tuning.folds} folds of train and validation, near duplicates and groups kept "
            "together. Test was not used."
        ),
        Paragraph(verdict),
        Paragraph(tuning.optimism),
        Table(["setting", "the recipe's own", "best"], settings, "Settings"),
        Paragraph(
            f"recipe.toml holds the settings of trial {best + 1}. To train with them, and to score test once:"
        ),
        Code(f"tumorboard train DATA --out RUN --recipe {tuning.name}/recipe.toml"),
    ]


def tuning_report(tuning: Tuning) -> Document:
    """Compose the best trial beside the recipe's own settings, then every trial."""
    rows: list[list[Cell]] = [
        [
            str(number),
            trial.state,
            "" if trial.loss is None else trial.loss,
            "" if trial.accuracy is None else trial.accuracy,
            trial.reason or settings_text(trial.values),
        ]
        for number, trial in enumerate(tuning.trials, start=1)
    ]
    return Document(
        f"Hyperparameter search of {tuning.recipe.name}",
        [NOTICE],
        [
            Section("Best settings", _best_blocks(tuning), "best"),
            Section(
                "All trials",
                [
                    Table(
                        ["trial", "state", "log loss", "accuracy", "settings"], rows, "In parentheses 95% CI"
                    )
                ],
                "trials",
            ),
        ],
    )


def _score(trial: Trial) -> str:
    return f"log loss {in_words(trial.loss) if trial.loss else UNDEFINED}"
