"""Predictions of any origin judged on one set of samples: as a page and as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property

from tumorboard import NOTICE
from tumorboard.evaluation.intervals import Estimate
from tumorboard.evaluation.scores import Scores, evaluate
from tumorboard.evaluation.selective_prediction import (
    CalibratedPerformance,
    Calibration,
    calibrated_performance,
)
from tumorboard.evaluation.significance import Comparison, compare
from tumorboard.evaluation.subgroups import MIN_SUBGROUP_SIZE, Subgroup, subgroups
from tumorboard.predictions import Predictions, aligned
from tumorboard.reporting import certainty
from tumorboard.reporting.markdown import escaped, of_n, table, with_interval

FORMAT = 1


@dataclass(frozen=True)
class Judgement:
    """What is judged.

    Args:
        title: What the samples are.
        models: By name, predictions of the same samples.
        groups: By sample id its group (patient), where groups are known.
        columns: By metadata column, its value by sample id.
        calibrations: By model, what was fitted on its validation images.
        notes: What the reader must know first.

    Raises:
        DataError: The models were given other samples or classes.
    """

    title: str
    models: Mapping[str, Predictions]
    groups: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        aligned(*self.models.values(), names=list(self.models))

    @cached_property
    def scores(self) -> dict[str, Scores]:
        """By model."""
        return {name: evaluate(one, self.groups) for name, one in self.models.items()}

    @property
    def guess(self) -> tuple[str, Estimate]:
        """The commonest class of the samples, and its share: what always saying it would score."""
        shares = next(iter(self.scores.values())).prevalence
        return max(shares.items(), key=lambda one: one[1].value or 0.0)

    @cached_property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Of all pairs of models."""
        return compare(self.models, self.groups)

    @cached_property
    def trusted(self) -> dict[str, CalibratedPerformance]:
        """By model that has a calibration."""
        known = {name: one for name, one in self.calibrations.items() if name in self.models}
        return {name: calibrated_performance(self.models[name], one) for name, one in known.items()}

    @cached_property
    def subgroups(self) -> dict[str, tuple[tuple[Subgroup, ...], tuple[str, ...]]]:
        """By model, subgroups and what is hidden; nothing without columns."""
        if not self.columns:
            return {}
        return {name: subgroups(one, self.columns, self.groups) for name, one in self.models.items()}


def judgement_json(one: Judgement) -> str:
    """Every figure, for machines."""
    content = {
        "format": FORMAT,
        "notice": NOTICE,
        "title": one.title,
        "notes": one.notes,
        "models": {
            name: {
                "scores": scores.to_dict(),
                "trust": one.trusted[name].to_dict() if name in one.trusted else None,
                "subgroups": [asdict(part) for part in one.subgroups.get(name, ((), ()))[0]],
            }
            for name, scores in one.scores.items()
        },
        "guess": {"class": one.guess[0], "accuracy": asdict(one.guess[1])},
        "comparisons": [asdict(pair) for pair in one.comparisons],
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def judgement_md(one: Judgement) -> str:
    """The page."""
    sections = [f"**{NOTICE}**", f"# {escaped(one.title)}", *map(escaped, one.notes), _accuracies(one)]
    sections += certainty.more_figures(one.scores)
    for name, scores in one.scores.items():
        sections += [f"## Each class: {escaped(name)}", *certainty.by_class(scores)]
    if one.comparisons:
        sections += ["## Differences between models", *certainty.differences(one.comparisons)]
    if one.trusted:
        sections += ["## Calibration, and when to ask a human", *certainty.trust(one.trusted, one.scores)]
    for name, (parts, hidden) in one.subgroups.items():
        sections += [f"## Subgroups: {escaped(name)}", *_subgroups(parts, hidden)]
    return "\n\n".join(sections) + "\n"


def _accuracies(one: Judgement) -> str:
    names = next(iter(one.models.values())).class_names
    rows = [
        [escaped(name), of_n(s.accuracy), *(of_n(s.recall[c]) for c in names)]
        for name, s in one.scores.items()
    ]
    found, share = one.guess
    rows.append([f"always {escaped(found)}", of_n(share), *("" for _ in names)])
    return table(["model", "accuracy", *(f"recall {escaped(c)}" for c in names)], rows)


def _subgroups(parts: tuple[Subgroup, ...], hidden: tuple[str, ...]) -> list[str]:
    rows = [
        [
            escaped(f"{part.column} = {part.value or 'missing'}"),
            of_n(part.scores.accuracy),
            with_interval(part.scores.balanced_accuracy),
            with_interval(part.scores.auroc),
            ", ".join(f"{escaped(c)} {m.value or 0:.2f}" for c, m in part.scores.prevalence.items()),
            "" if part.p_holm is None else f"{part.p_holm:.2g}",
        ]
        for part in parts
    ]
    header = ["subgroup", "accuracy", "balanced accuracy", "AUROC", "prevalences", "p"]
    note = (
        "p: Fisher's exact test of the subgroup's accuracy against all other samples, corrected by Holm's "
        f"method for the {len(parts)} subgroups looked at. What differs between subgroups need not be caused "
        "by what defines them."
    )
    if hidden:
        note += " " + escaped(f"Hidden, as smaller than {MIN_SUBGROUP_SIZE}: {', '.join(hidden)}.")
    return [table(header, rows), note]
