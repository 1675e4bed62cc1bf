"""The report's parts on the models together: do they err alike, does combining help, what is disputed."""

import base64
from collections.abc import Iterator, Mapping
from itertools import combinations

from tumorboard.evaluation.error_agreement import ErrorAgreement, compare_errors, correct_by_any
from tumorboard.evaluation.intervals import proportion
from tumorboard.evaluation.metrics import log_loss
from tumorboard.predictions import Predictions, aligned
from tumorboard.reporting.cases import Picture, most_disputed, surest_errors, surest_right
from tumorboard.reporting.html import Html, element, items, section, table
from tumorboard.reporting.material import Material
from tumorboard.reporting.numbers import UNDEFINED, of_n

COMBINED = ("ensemble", "chained")
"""Names that a run gives to what it makes of its members."""


def together(material: Material) -> Html:
    """Why the ensemble and the chain do or do not help."""
    members = {name: one for name, one in material.test.items() if name not in COMBINED}
    return section(
        "board",
        "Does combining help?",
        element("p", "All figures are of test and choose nothing."),
        items(_bounds(material, members)),
        _pairs(material.test),
        element(
            "p",
            "Errors that fall on the same images (correlation near 1) leave nothing for a combination to "
            "repair. Whether one errs less often by more than noise: see the differences.",
        ),
    )


def _bounds(material: Material, members: Mapping[str, Predictions]) -> Iterator[str]:
    if len(members) > 1:
        bound = proportion(correct_by_any(members), len(next(iter(members.values()))))
        yield (
            f"At least one of {', '.join(members)} is right on {of_n(bound)}: no choice among their answers "
            "can be right more often (an oracle's bound)."
        )
    best = min(members, key=lambda name: _loss(material.study.models[name]["valid"]), default="")
    for name in COMBINED:
        if best and name in material.test:
            for member in members:
                yield _rescued(name, member, compare_errors(material.test[name], material.test[member]))
    for name in members:
        if name != best:
            yield _cost(name, best, compare_errors(material.test[name], material.test[best]))


def _loss(one: Predictions) -> float:
    return log_loss(one.labels, one.probabilities)


def _rescued(name: str, best: str, one: ErrorAgreement) -> str:
    effect = "no difference"
    if one.only_first != one.only_second:
        effect = "a gain" if one.only_first > one.only_second else "a loss"
    return (
        f"{name} against {best}: rescues {one.only_first} images that {best} has wrong and spoils "
        f"{one.only_second} that it has right, of {one.n}; {effect} of "
        f"{abs(one.only_first - one.only_second)}. Whether that is more than noise: see the differences."
    )


def _cost(name: str, best: str, one: ErrorAgreement) -> str:
    return (
        f"{name} beside {best}: it knows {one.only_first} of the {one.only_first + one.neither} images that "
        f"{best} has wrong, and is wrong on {one.only_second} that {best} has right."
    )


def _pairs(models: Mapping[str, Predictions]) -> Html:
    rows = []
    for a, b in combinations(models, 2):
        one = compare_errors(models[a], models[b])
        phi = UNDEFINED if one.correlation is None else f"{one.correlation:.2f}"
        counts = (one.both, one.only_first, one.only_second, one.neither)
        same = of_n(proportion(one.same_prediction, one.n))
        rows.append([f"{a}, {b}", same, *map(str, counts), phi])
    columns = [
        "same answer",
        "both right",
        "only first",
        "only second",
        "both wrong",
        "correlation of errors",
    ]
    return table("Agreement of the models on test", ["models", *columns], rows)


def cases(material: Material) -> Html:
    """Images to look at: the recommended model's surest errors, the most disputed, some right ones."""
    one = material.test[material.recommended]
    ids = next(iter(material.test.values())).ids
    return section(
        "cases",
        "Cases to look at",
        element(
            "p",
            "The pictures are small copies of the study's images: share this page as you would share them.",
        ),
        element("p", _about_maps(material)),
        element("h3", f"Surest errors of {material.recommended}"),
        _cards(material, [one.ids[row] for row in surest_errors(one)], "It made no error on test."),
        element("h3", "Most disputed by the board"),
        _cards(
            material, [ids[row] for row in most_disputed(material.test)], "The models never disagree on test."
        ),
        element("h3", f"Right, and the surest of each class: {material.recommended}"),
        _cards(material, [one.ids[row] for row in surest_right(one)], "It was never right on test."),
    )


def _about_maps(material: Material) -> str:
    if not any(len(pictures) > 1 for pictures in material.pictures.values()):
        return "There are no heat maps: the images or the models are no longer where they were."
    return (
        "A map (Grad-CAM) is laid over the image as the network takes it, and is bright where something "
        "spoke for that model's own answer. A map of one colour names no place. It shows where a "
        "network looked; not why, and not whether rightly."
    )


def shown_cases(material: Material) -> list[str]:
    """Ids of the images that `cases` shows."""
    return list(mapped_cases(material))


def mapped_cases(material: Material) -> dict[str, list[str]]:
    """The same, each with the models whose heat maps are wanted: all of them where they disagree."""
    one, first = material.test[material.recommended], next(iter(material.test.values()))
    alone = [one.ids[row] for row in (*surest_errors(one), *surest_right(one))]
    disputed = [first.ids[row] for row in most_disputed(material.test)]
    everyone = list(material.test)
    return {name: [material.recommended] for name in alone} | dict.fromkeys(disputed, everyone)


def _cards(material: Material, ids: list[str], nothing: str) -> Html:
    if not ids:
        return element("p", nothing)
    same = dict(zip(material.test, aligned(*material.test.values()), strict=True))
    return element("ul", *(_card(material, same, name) for name in ids), class_="cards")


def _card(material: Material, models: Mapping[str, Predictions], name: str) -> Html:
    first = next(iter(models.values()))
    row, names = first.ids.index(name), first.class_names
    true = names[first.labels[row]]
    pictures = material.pictures.get(name, ())
    shown = [_picture(one, f"{one.caption}: {true}, {name}") for one in pictures]
    said = [
        f"{model}: {names[one.predicted[row]]} ({one.probabilities[row].max():.2f})"
        for model, one in models.items()
    ]
    missing = [] if shown else [element("p", "The file is no longer where it was.")]
    heading = element("p", element("strong", f"True: {true}"))
    path = element("p", name, class_="path")
    return element("li", element("div", *shown, *missing, class_="pictures"), heading, items(said), path)


def _picture(one: Picture, alternative: str) -> Html:
    data = base64.b64encode(one.jpeg).decode("ascii")
    source = f"data:image/jpeg;base64,{data}"
    image = element("img", src=source, alt=alternative, width="160", height="160")
    return element("figure", image, element("figcaption", one.caption))
