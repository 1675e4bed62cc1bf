"""What tuning found, as a page, as JSON, and as the recipe that it ends in."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tumorboard import NOTICE
from tumorboard.config import Recipe, dump
from tumorboard.reporting import trials as records
from tumorboard.reporting.markdown import escaped, table
from tumorboard.reporting.numbers import UNDEFINED, of_n, shown
from tumorboard.reporting.trials import Trial, settings, text
from tumorboard.search_space import with_values

FORMAT = 1


@dataclass(frozen=True)
class Tuning:
    """A study of settings.

    Attributes:
        study: What its folder is called.
        recipe: The recipe that was tuned.
        model: Whose held-out answers were scored.
        folds: How many.
        trials: At least one of them complete; the first has the recipe's own settings.
    """

    study: str
    recipe: Recipe
    model: str
    folds: int
    trials: Sequence[Trial]

    @property
    def best(self) -> int:
        """The position of the best trial."""
        return records.best(self.trials)

    @property
    def optimism(self) -> str:
        """What to know of the winner's score."""
        if len(self.trials) == 1:
            return "One trial: nothing was chosen."
        return (
            f"It is the best of {len(self.trials)} on the images that chose it, so its score is optimistic, "
            "and its interval does not know that."
        )


def recipe_toml(one: Tuning) -> str:
    """The best trial's recipe, every setting written out; comments say where it comes from."""
    winner = one.trials[one.best]
    where = f"trial {one.best + 1} of {len(one.trials)} of the study {one.study}"
    found = f"{_figure(winner)} of {one.model}, held out in {one.folds} folds"
    lines = [
        f"Made by tumorboard tune from the recipe {one.recipe.name}: {where}.",
        f"{found} (in brackets the 95 % interval).",
        one.optimism,
        *(f"{name} = {json.dumps(value)}" for name, value in winner.values.items()),
    ]
    comments = "".join(f"# {' '.join(line.split())}\n" for line in lines)
    told = {"name": f"{one.recipe.name}-tuned", "description": f"{where}: {found}. {one.optimism}"}
    return comments + dump(with_values(one.recipe, winner.values).model_copy(update=told))


def _figure(one: Trial) -> str:
    return f"log loss {of_n(one.loss) if one.loss else UNDEFINED}"


def tuning_json(one: Tuning) -> str:
    """Every trial, for machines."""
    content = {
        "format": FORMAT,
        "notice": NOTICE,
        "model": one.model,
        "folds": one.folds,
        "score": "mean log loss, in nats, of held-out images; lower is better",
        "best": one.best + 1,
        "optimism": one.optimism,
        "trials": records.to_json(one.trials),
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def tuning_md(one: Tuning) -> str:
    """The page: the best trial against the recipe's own settings, then every trial."""
    winner, own = one.trials[one.best], one.trials[0]
    note = winner.loss.note if winner.loss else ""
    paragraphs = [
        f"**{NOTICE}**",
        f"# Tuning of {escaped(one.recipe.name)}",
        f"Each trial was scored by the log loss of **{escaped(one.model)}** on images held out in "
        f"{one.folds} folds of train and validation, twins and groups kept together. Test stayed closed.",
        _verdict(one.best, winner, own),
        f"{one.optimism} In brackets 95 % intervals{f' ({note})' if note else ''}.",
        _settings(winner, own),
        "## All trials",
        _all(one.trials),
        f"`recipe.toml` holds the settings of trial {one.best + 1}. To train with them, and open test once:",
        f"    tumorboard train DATA --out RUN --recipe {escaped(one.study)}/recipe.toml",
    ]
    return "\n\n".join(paragraphs) + "\n"


def _verdict(best: int, winner: Trial, own: Trial) -> str:
    if not best:
        return f"No trial was better than the recipe's own settings (trial 1): {_figure(own)}."
    return f"Best: trial {best + 1}, {_figure(winner)}; the recipe's own settings (trial 1): {_figure(own)}."


def _settings(winner: Trial, own: Trial) -> str:
    rows = [
        [escaped(name), escaped(text(own.values[name])), escaped(text(value))]
        for name, value in winner.values.items()
    ]
    return table(["setting", "the recipe's own", "best"], rows)


def _all(trials: Sequence[Trial]) -> str:
    rows = [
        [
            str(number),
            one.state,
            *("" if figure is None else shown(figure) for figure in (one.loss, one.accuracy)),
            str(one.loss.n if one.loss else 0),
            escaped(one.reason or settings(one.values)),
        ]
        for number, one in enumerate(trials, start=1)
    ]
    return table(["trial", "state", "log loss", "accuracy", "n", "settings"], rows)
