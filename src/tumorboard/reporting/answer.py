"""The report's first screen: which model, how good, how sure, what the audit found, what to be careful of."""

from collections.abc import Iterator

from tumorboard.reporting.doubts import doubts
from tumorboard.reporting.html import Html, element, items, join, section
from tumorboard.reporting.material import Material
from tumorboard.reporting.numbers import counted, percent, shown
from tumorboard.reporting.study import SERIES

_FEW = 100


def answer(material: Material) -> Html:
    """What a reader who reads nothing else must know."""
    return section(
        "answer",
        f"Recommended: {material.recommended}",
        element("div", *_found(material), *_audit(material)),
        element("div", element("h3", "Be careful"), items(_cautions(material)), class_="careful"),
    )


def _found(material: Material) -> Iterator[Html]:
    yield element("ul", *(element("li", line) for line in _how_good(material)), class_="figure")
    yield element("p", element("strong", "How sure: "), " ".join(_how_sure(material)))
    yield element("p", element("strong", "Why this one: "), material.summary.recommendation.reason)
    yield element("p", "Chosen from train and validation alone; no test figure was used.")


def _how_sure(material: Material) -> Iterator[str]:
    scores, one = material.scores, material.summary.trusted.get(material.recommended)
    if scores.accuracy.low is not None and scores.accuracy.high is not None:
        room = f"{percent(scores.accuracy.low)} to {percent(scores.accuracy.high)}"
        yield f"{scores.n} images leave room for a true accuracy of {room}."
    ece = material.stated.ece
    if ece.value is not None and ece.null_high is not None:
        inside = ece.value <= ece.null_high
        verdict = "within what chance explains" if inside else "more than chance explains"
        limit = f"calibrated models: up to {ece.null_high:.3f}"
        stated = "confidence" if one is None else "confidence, tempered as `predict` states it,"
        yield f"Its stated {stated} is off by {ece.value:.3f} on average, {verdict} ({limit})."
    if one and one.selective_accuracy is not None:
        yield (
            f"If it refers what it is unsure of to a human, {one.selective_accuracy.n} of {scores.n} images "
            f"are left to it, {shown(one.selective_accuracy)} of them right."
        )


def _how_good(material: Material) -> Iterator[Html]:
    name, accuracy = material.recommended, material.scores.accuracy
    yield join([element("strong", f"Test accuracy {shown(accuracy)}"), f", {counted(accuracy)}"])
    for title, scores in material.summary.test_subsets.items():
        share = scores[name].accuracy
        yield join([element("strong", f"{title}: {shown(share)}"), f", {counted(share)}"])
    guess = material.summary.baselines["majority class"]["test"].accuracy
    yield join([f"a guess of the commonest class: {shown(guess)}; in brackets 95 % Wilson intervals"])


def _audit(material: Material) -> Iterator[Html]:
    findings = material.study.facts.findings
    count = {kind: sum(one.severity == kind for one in findings) for kind in ("error", "warning", "note")}
    yield element("h3", "What the audit of the images found")
    found = ", ".join(f"{n} {kind}{'' if n == 1 else 's'}" for kind, n in count.items())
    yield element("p", f"{found}. ", element("a", "All of them", href="#audit"), ".")
    worst = [one for one in findings if one.severity == "error"]
    if worst:
        yield items(join([element("strong", f"{one.title}. "), one.consequence]) for one in worst)


def _cautions(material: Material) -> Iterator[str]:
    facts, scores = material.study.facts, material.scores
    yield from doubts(material)
    if not facts.grouped:
        yield (
            "Patient independence was not checked: the data names no patients. Slices of one patient may be "
            "in several parts; figures may be too good and intervals too narrow."
        )
        yield from (f"{one.title}. {one.consequence}" for one in facts.findings if one.code == SERIES)
    yield (
        f"This is one run, seed {facts.seed}. The intervals do not contain the noise of the seed; another "
        "seed may change the order of the models."
    )
    yield (
        f"The test part was scored {material.looks} time{'' if material.looks == 1 else 's'} in this run "
        "folder; every look makes its figure a little less independent."
    )
    if scores.n < _FEW:
        yield f"Test has only {scores.n} images: look at the intervals, not at the third decimal."
    known = {name: share for name, share in scores.recall.items() if share.value is not None}
    if known:
        worst = min(known, key=lambda name: known[name].value or 0.0)
        yield f"Weakest class on test: {worst}, found {shown(known[worst])}, {counted(known[worst])}."
    yield "No image from another hospital or scanner was tested: nothing here says how it does elsewhere."
