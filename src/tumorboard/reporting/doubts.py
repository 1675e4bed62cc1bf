"""What test says against the recommendation. It is told, and changes nothing: test chooses nothing."""

from collections.abc import Iterator

from tumorboard.evaluation.overfitting import gap_interval
from tumorboard.evaluation.significance import Comparison
from tumorboard.reporting.material import Material
from tumorboard.reporting.numbers import percent, shown


def doubts(material: Material) -> Iterator[str]:
    """A line each: better models on test, a fall from validation, wrong probabilities, broken promises."""
    yield from _better(material)
    yield from _fall(material)
    yield from _probabilities(material)


def _better(material: Material) -> Iterator[str]:
    better = [
        f"{other} (by {gain:.3f}, p = {one.p_holm:.2g} after Holm's correction)"
        for one in material.summary.comparisons["test"]
        if one.metric == "accuracy" and one.p_holm is not None and one.p_holm < 0.05
        for other, gain in [_gain(one, material.recommended)]
        if gain > 0
    ]
    if better:
        yield (
            f"On test {' and '.join(better)} did better than {material.recommended}, by more than noise: "
            "validation chose another model than test would have. The recommendation stays, because a model "
            "picked by its test figure has no honest test figure left."
        )


def _gain(one: Comparison, name: str) -> tuple[str, float]:
    """The other model, and how much better it is than the named one; 0 in a pair without it."""
    difference = one.difference or 0.0
    if one.first == name:
        return one.second, -difference
    return one.first, difference if one.second == name else 0.0


def _fall(material: Material) -> Iterator[str]:
    valid, test = (material.summary.models[material.recommended][s].accuracy for s in ("valid", "test"))
    if valid.value is None or test.value is None:
        return
    low, high = gap_interval(valid.value, valid.n, test.value, test.n)
    if low > 0:
        yield (
            f"Validation promised an accuracy of {shown(valid)}; test is {100 * low:.0f} to {100 * high:.0f} "
            "points below it, more than noise: its images differ, or validation was used up by choosing."
        )


def _probabilities(material: Material) -> Iterator[str]:
    one = material.summary.trusted.get(material.recommended)
    ece = material.stated.ece
    if ece.value is not None and ece.null_high is not None and ece.value > ece.null_high:
        yield (
            f"Its stated confidence on test is wrong by {ece.value:.3f} on average (calibrated models: up to "
            f"{ece.null_high:.3f}): do not read 0.9 as 9 in 10."
        )
    held = one.set_coverage.get("all") if one else None
    if one and held and held.high is not None and held.high < 1 - one.calibration.alpha:
        yield (
            f"Its prediction sets promised to hold the true class in {percent(1 - one.calibration.alpha)} of "
            f"the images; on test they do in {shown(held)}."
        )
