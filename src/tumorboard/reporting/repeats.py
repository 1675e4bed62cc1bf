"""The study repeated, as a page and as JSON: every figure with its spread, none of them the best alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from tumorboard import NOTICE
from tumorboard.evaluation.score import Scores, evaluate
from tumorboard.evaluation.study import Recommendation, mcnemar, recommend
from tumorboard.predictions import Predictions
from tumorboard.reporting.markdown import decimals, escaped, of_n, table, with_interval
from tumorboard.reporting.study import SPLITS

FORMAT = 2


@dataclass(frozen=True)
class Repeats:
    """What repeating has found.

    Args:
        held_out: By model, what it says of every image of the folds, trained without that image's fold.
        ways: The same for each way to combine, fitted on the other folds.
        runs: By run, model and split: predictions.
        seconds: Of each run.
    """

    held_out: Mapping[str, Predictions]
    ways: Mapping[str, Predictions]
    runs: Mapping[str, Mapping[str, Mapping[str, Predictions]]]
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class Spread:
    """A figure over n runs; `sd` is the sample's, None for one run."""

    n: int
    mean: float
    sd: float | None
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Mean, standard deviation and range."""
    sd = stdev(values) if len(values) > 1 else None
    return Spread(len(values), mean(values), sd, min(values), max(values))


def repeats_json(study: Repeats) -> str:
    """Every figure, for machines."""
    content = {
        "format": FORMAT,
        "notice": NOTICE,
        "folds": {name: evaluate(one).to_dict() for name, one in study.held_out.items()},
        "ways_to_combine": {name: evaluate(one).to_dict() for name, one in study.ways.items()},
        "seeds": {
            f"{model} {split} {what}": vars(spread(values))
            for (model, split, what), values in _figures(study).items()
        },
        "seconds": dict(study.seconds),
    }
    return json.dumps(content, indent=2) + "\n"


def repeats_md(study: Repeats) -> str:
    """The page: what cross-validation says, how combining was chosen, and the spread over seeds."""
    sections = [f"**{NOTICE}**", "# Repeated study"]
    if study.held_out:
        sections += [*_folds(study), *_choice(study)]
    return "\n\n".join([*sections, *_seeds(study)]) + "\n"


def _folds(study: Repeats) -> list[str]:
    n = len(next(iter(study.held_out.values())))
    return [
        "## Cross-validated on train and validation",
        f"{n} images, each judged by models that saw neither it nor a twin of it. Test was not in it.",
        _scores({name: evaluate(one) for name, one in study.held_out.items()}),
    ]


def _scores(found: Mapping[str, Scores]) -> str:
    classes = list(next(iter(found.values())).recall)
    header = ["model", "accuracy (95 % interval)", "log loss", *(f"recall {escaped(c)}" for c in classes)]
    rows = [
        [
            escaped(name),
            of_n(one.accuracy),
            with_interval(one.loss),
            *(with_interval(one.recall[c]) for c in classes),
        ]
        for name, one in found.items()
    ]
    return table(header, rows)


def _choice(study: Repeats) -> list[str]:
    chosen = recommend(study.ways)
    return [
        "## How to combine",
        "Every way was fitted on all folds but one and judged on that one.",
        _scores({name: evaluate(one) for name, one in study.ways.items()}),
        f"Chosen for the runs below: **{chosen.model}**. {_reason(chosen)}",
        _against_the_best_member(study, chosen.model),
    ]


def _reason(chosen: Recommendation) -> str:
    return chosen.reason.replace("validation", "held-out images")


def _against_the_best_member(study: Repeats, form: str) -> str:
    members = {name: one for name, one in study.held_out.items() if name not in {"ensemble", "chained"}}
    best = recommend(members).model
    joint, alone = (evaluate(one).accuracy.value or 0.0 for one in (study.ways[form], members[best]))
    p = mcnemar(study.ways[form], members[best])
    verdict = "It beats its best member" if joint > alone else "It does not beat its best member"
    noise = "more than noise" if p < 0.05 else "within noise"
    return f"{verdict}, {best}: {joint:.3f} against {alone:.3f}, {noise} (exact McNemar test, p = {p:.2g})."


def _figures(study: Repeats) -> dict[tuple[str, str, str], list[float]]:
    """(model, split, figure) -> a value a run."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for models in study.runs.values():
        for model, splits in models.items():
            for split in SPLITS:
                scores = evaluate(splits[split])
                for what, value in (("accuracy", scores.accuracy.value), ("loss", scores.loss.value)):
                    if value is not None:
                        found.setdefault((model, split, what), []).append(value)
    return found


def _seeds(study: Repeats) -> list[str]:
    runs = list(study.runs)
    rows = []
    for (model, split, what), values in _figures(study).items():
        one = spread(values)
        rows.append(
            [
                escaped(f"{model}, {split}, {what}"),
                *map(decimals, (one.mean, one.sd, one.low, one.high)),
            ]
        )
    seconds = spread(list(study.seconds.values()))
    note = "" if len(runs) > 1 else " One seed: how much another one would change is not known."
    return [
        f"## {len(runs)} run{'s' if len(runs) > 1 else ''}: {', '.join(escaped(name) for name in runs)}",
        f"{seconds.mean:.0f} s a run on average ({seconds.low:.0f} to {seconds.high:.0f} s).{note}",
        table(["figure", "mean", "standard deviation", "lowest", "highest"], rows),
        f"Each run's own page: {', '.join(escaped(f'{name}/results.md') for name in runs)}.",
    ]
