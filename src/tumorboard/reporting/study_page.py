"""`report.html` of a repeated study, from its metrics.json: every figure with its interval and its spread."""

from collections.abc import Iterator, Mapping
from typing import Any

from tumorboard import NOTICE
from tumorboard.reporting.html import Html, element, section, table
from tumorboard.reporting.numbers import UNDEFINED
from tumorboard.reporting.page import head

_FIGURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "loss": "loss",
}


def study_page(metrics: Mapping[str, Any]) -> str:
    """HTML text.

    Args:
        metrics: What a repeated study writes as metrics.json.

    Raises:
        KeyError, TypeError, AttributeError: It is something else.
    """
    title = "Repeated study"
    notice = element("p", NOTICE, class_="notice")
    body = element("body", element("header", notice, element("h1", title)), element("main", *_parts(metrics)))
    return f"<!DOCTYPE html>\n{element('html', head(title), body, lang='en')}\n"


def _parts(metrics: Mapping[str, Any]) -> Iterator[Html]:
    yield section(
        "seeds",
        "Over seeds: mean, spread and range",
        element("p", "On one split. No run is shown as the best: the spread is what a seed alone changes."),
        _spreads(metrics["seeds"]),
    )
    titles = {
        "folds": "Over folds of train and validation",
        "ways_to_combine": "Ways to combine, on the folds",
    }
    for key, title in titles.items():
        if metrics[key]:
            note = "In brackets 95 % intervals. Each image was judged by models that did not see it."
            groups = next(iter(metrics[key].values()))["groups"]
            drawn = f" Intervals draw whole groups, of which there are {groups}." if groups else ""
            yield section(key, title, element("p", note + drawn), _scores(metrics[key]))


def _scores(found: Mapping[str, Any]) -> Html:
    rows = [[name, *(_measure(scores[key]) for key in _FIGURES)] for name, scores in found.items()]
    return table("Held-out images", ["model", *_FIGURES.values()], rows)


def _measure(one: Mapping[str, Any]) -> str:
    if one["value"] is None:
        return UNDEFINED
    limits = "no interval" if one["low"] is None else f"{one['low']:.3f} to {one['high']:.3f}"
    return f"{one['value']:.3f} ({limits}), n = {one['n']}"


def _spreads(found: Mapping[str, Any]) -> Html:
    rows = []
    for name, one in found.items():
        spread = UNDEFINED if one["sd"] is None else f"{one['sd']:.3f}"
        rows.append(
            [name, str(one["n"]), f"{one['mean']:.3f}", spread, f"{one['low']:.3f} to {one['high']:.3f}"]
        )
    return table("Figures over runs", ["figure", "runs", "mean", "standard deviation", "range"], rows)
