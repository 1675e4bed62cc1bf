"""A repeated study as a record: what its runs said, and the spread of every figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import mean, stdev

from tumorboard.evaluation import subgroups
from tumorboard.evaluation.scores import Scores, evaluate
from tumorboard.predictions import Predictions
from tumorboard.reporting.study import SPLITS


@dataclass(frozen=True)
class Repeats:
    """What repeating has found.

    Args:
        held_out: By model, what it says of every image of the folds, trained without that image's fold.
        ways: The same for each way to combine, fitted on the other folds.
        runs: By run, model and split: predictions.
        seconds: Of each run.
        shortcuts: Classes that metadata give away; accuracy is told among the others too.
        groups: By sample id its group (patient), where groups are known.
    """

    held_out: Mapping[str, Predictions]
    ways: Mapping[str, Predictions]
    runs: Mapping[str, Mapping[str, Mapping[str, Predictions]]]
    seconds: Mapping[str, float]
    shortcuts: tuple[str, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def held_out_scores(self) -> dict[str, Scores]:
        """Of each model, with intervals that know the groups; bootstraps, made once for page and JSON."""
        return {name: evaluate(one, self.groups) for name, one in self.held_out.items()}

    @cached_property
    def way_scores(self) -> dict[str, Scores]:
        """The same of each way to combine."""
        return {name: evaluate(one, self.groups) for name, one in self.ways.items()}

    @cached_property
    def others(self) -> "Repeats":
        """See `among_the_others`."""
        return among_the_others(self)


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


def figures(study: Repeats) -> dict[tuple[str, str, str], list[float]]:
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


def among_the_others(study: Repeats) -> Repeats:
    """The same study without the images of the classes that metadata give away; empty if there are none."""
    if not study.shortcuts:
        return Repeats({}, {}, {}, {})
    return Repeats(
        {name: _without(one, study.shortcuts) for name, one in study.held_out.items()},
        {name: _without(one, study.shortcuts) for name, one in study.ways.items()},
        {
            run: {
                model: {split: _without(one, study.shortcuts) for split, one in splits.items()}
                for model, splits in models.items()
            }
            for run, models in study.runs.items()
        },
        study.seconds,
        groups=study.groups,
    )


def _without(one: Predictions, classes: Sequence[str]) -> Predictions:
    kept = [
        name for name, label in zip(one.ids, one.labels, strict=True) if one.class_names[label] not in classes
    ]
    return subgroups.subset(one, kept)
