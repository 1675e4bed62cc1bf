"""The study repeated, as a page and as JSON: every figure with its spread, none of them the best alone."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tumorboard import NOTICE
from tumorboard.evaluation.intervals import Interval, wilson, wilson_grouped
from tumorboard.evaluation.model_selection import most_accurate
from tumorboard.evaluation.scores import Scores, group_indices
from tumorboard.evaluation.significance import accuracy_test
from tumorboard.predictions import aligned
from tumorboard.reporting.markdown import decimals, escaped, of_n, stars, table, with_interval
from tumorboard.reporting.repeated import Repeats, figures, spread

FORMAT = 2


def repeats_json(study: Repeats) -> str:
    """Every figure, for machines."""
    others = study.others
    content = {
        "format": FORMAT,
        "notice": NOTICE,
        **_scored(study),
        "seconds": dict(study.seconds),
        "without_classes_that_metadata_give_away": {
            "classes": list(study.shortcuts),
            **_scored(others),
        },
    }
    return json.dumps(content, indent=2) + "\n"


def _scored(study: Repeats) -> dict[str, Any]:
    return {
        "folds": {name: one.to_dict() for name, one in study.held_out_scores.items()},
        "ways_to_combine": {name: one.to_dict() for name, one in study.way_scores.items()},
        "seeds": {
            f"{model} {split} {what}": vars(spread(values))
            for (model, split, what), values in figures(study).items()
        },
    }


def repeats_md(study: Repeats) -> str:
    """The page: what cross-validation says, how combining was chosen, and the spread over seeds."""
    sections = [f"**{NOTICE}**", "# Repeated study"]
    if study.held_out:
        sections += [*_folds(study), *_choice(study)]
    sections += _seeds(study)
    if study.shortcuts:
        sections += _others(study)
    return "\n\n".join(sections) + "\n"


def _others(study: Repeats) -> list[str]:
    others, names = study.others, ", ".join(map(escaped, study.shortcuts))
    sections = [
        "## Among the other classes",
        f"Metadata of the files alone give away: {names}. What follows is scored on the other classes; "
        "models were trained on all, and an answer with a left-out class counts as wrong. Images of test "
        "with twins in train are not left out here; each run's own page does that.",
    ]
    if others.held_out:
        ways = {f"ensemble: {name}": one for name, one in others.way_scores.items()}
        sections.append(_scores({**others.held_out_scores, **ways}))
    return [*sections, _mean_accuracies(others)]


def _mean_accuracies(study: Repeats) -> str:
    """Test accuracy a model: over runs its mean and spread; the interval is of the images, at the mean."""
    header = [
        "model, test accuracy",
        f"mean (95 % interval of the {'groups' if study.groups else 'images'})",
        "n images",
        "runs",
        "lowest",
        "highest",
    ]
    n = {model: len(splits["test"]) for models in study.runs.values() for model, splits in models.items()}
    rows = []
    for (model, split, what), values in figures(study).items():
        if (split, what) == ("test", "accuracy"):
            one = spread(values)
            limits = " to ".join(map(decimals, _interval(study, model)))
            mean_of = f"{decimals(one.mean)} ({limits})"
            rows.append(
                [escaped(model), mean_of, str(n[model]), str(one.n), *map(decimals, (one.low, one.high))]
            )
    return table(header, rows)


def _interval(study: Repeats, model: str) -> Interval:
    """Of the share of runs that are right about an image, over the images of test."""
    same = aligned(*(models[model]["test"] for models in study.runs.values()))
    hits = np.mean([one.predicted == one.labels for one in same], axis=0)
    units = group_indices(same[0].ids, study.groups)
    return wilson(float(hits.sum()), len(hits)) if units is None else wilson_grouped(hits, units)


def _folds(study: Repeats) -> list[str]:
    scores = study.held_out_scores
    first = next(iter(scores.values()))
    drawn = f" Intervals draw whole groups, of which there are {first.groups}." if first.groups else ""
    return [
        "## Cross-validated on train and validation",
        f"{first.n} images, each judged by models that saw neither it nor a twin of it. Test was not in "
        f"it.{drawn}",
        _scores(scores),
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
    shown = [measure for one in found.values() for measure in (one.accuracy, one.loss, *one.recall.values())]
    return "\n\n".join([table(header, rows), *stars(shown)])


def _choice(study: Repeats) -> list[str]:
    chosen = most_accurate(study.ways)
    return [
        "## How to combine",
        "Every way was fitted on all folds but one and judged on that one.",
        _scores(study.way_scores),
        f"Chosen for the runs below: **{chosen}**, the most accurate on held-out images; of those within one "
        "image of it, the one of lowest log loss.",
        _against_the_best_member(study, chosen),
    ]


def _against_the_best_member(study: Repeats, form: str) -> str:
    members = {name: one for name, one in study.held_out.items() if name not in {"ensemble", "chained"}}
    best = most_accurate(members)
    joint, alone = (float((one.predicted == one.labels).mean()) for one in (study.ways[form], members[best]))
    test, p = accuracy_test(study.ways[form], members[best], study.groups)
    verdict = "It beats" if joint > alone else "It is worse than"
    if p >= 0.05:
        verdict = "Nothing shows that it is better than"
    found = f"{joint:.3f} against {alone:.3f} ({test}, p = {p:.2g})"
    return f"{verdict} its best member, {best}: {found}."


def _seeds(study: Repeats) -> list[str]:
    runs = list(study.runs)
    rows = []
    for (model, split, what), values in figures(study).items():
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
