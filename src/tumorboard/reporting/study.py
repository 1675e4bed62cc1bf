"""What a report is made of: every model's predictions, the baselines', and how the run was done."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from tumorboard.audit.group_checks import series_in_file_names
from tumorboard.errors import DataError
from tumorboard.evaluation.model_selection import (
    DescriptionScores,
    Recommendation,
    description_scores,
    recommend,
)
from tumorboard.evaluation.overfitting import verdict
from tumorboard.evaluation.scores import Scores, evaluate
from tumorboard.evaluation.selective_prediction import (
    CalibratedPerformance,
    Calibration,
    calibrated_performance,
)
from tumorboard.evaluation.significance import Comparison, compare
from tumorboard.evaluation.subgroups import subset
from tumorboard.predictions import Predictions, aligned

SPLITS = ("train", "valid", "test")

SERIES = series_in_file_names.code

SYNTHETIC = "Synthetic images: drawn by a program, of no patient. No figure here says anything of medicine."
"""Shown above every result on drawn images."""

BySplit = Mapping[str, Predictions]


@dataclass(frozen=True)
class Finding:
    """What the audit found, in a line, and what it means for the figures, in a sentence."""

    severity: str
    code: str
    title: str
    consequence: str


@dataclass(frozen=True)
class Facts:
    """How a run was done.

    Attributes:
        recipe: The recipe's name.
        seed: The run's one seed.
        command: What to type to repeat it.
        backend: Keras' backend.
        versions: Version by package.
        seconds: Time taken by phase, in order.
        grouped: Whether groups (patients) were known and kept apart by the splits.
        findings: Of the audit, the worst first.
        models: A line a model on how it came out, for example its epochs or weights.
        notes: Further lines for the top of the page.
        synthetic: Whether all images are drawn, so that no figure says anything of patients.
    """

    recipe: str
    seed: int
    command: str
    backend: str
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    grouped: bool = False
    findings: tuple[Finding, ...] = ()
    models: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    synthetic: bool = False

    @property
    def grave(self) -> tuple[Finding, ...]:
        """What the audit calls errors, and series in several parts that only names tell, so that it warns."""
        return tuple(one for one in self.findings if one.severity == "error" or one.code == SERIES)


@dataclass(frozen=True)
class Study:
    """Predictions by model (or baseline) and split; all of one split are of the same samples.

    Attributes:
        models: By model name, then by each of `SPLITS`.
        baselines: The same, as `evaluation.baselines.baselines` gives them.
        facts: How the run was done.
        test_subsets: By title, the test ids to score once more by themselves, for example those without a
            twin in train.
        valid_subsets: The same of validation.
        groups: By sample id its group (patient), where groups are known.
        calibrations: By model, what was fitted on validation.

    Raises:
        DataError: No model, a split missing or without samples, or models that were given other samples.
    """

    models: Mapping[str, BySplit]
    baselines: Mapping[str, BySplit]
    facts: Facts
    test_subsets: Mapping[str, Collection[str]] = field(default_factory=dict)
    valid_subsets: Mapping[str, Collection[str]] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)

    def __post_init__(self) -> None:
        everyone = {**self.models, **self.baselines}
        if not self.models:
            raise DataError("expected predictions of at least one model to report on, found none")
        for name, by_split in everyone.items():
            lacking = [split for split in SPLITS if split not in by_split or not len(by_split[split])]
            if lacking:
                raise DataError(f"expected predictions of {name} on {', '.join(SPLITS)}; lacking: {lacking}")
        for split in SPLITS:
            names = [f"{name}-{split}" for name in everyone]
            aligned(*(by_split[split] for by_split in everyone.values()), names=names)

    @property
    def labels(self) -> BySplit:
        """By split, predictions to take ids, labels and class names from: the first model's."""
        return next(iter(self.models.values()))

    @cached_property
    def summary(self) -> "Summary":
        """All numbers."""
        return _summarised(self)

    def told_with(self, facts: Facts) -> "Study":
        """The same with other facts; its numbers, seconds of work, are kept."""
        other = replace(self, facts=facts)
        vars(other)["summary"] = self.summary
        return other

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the probabilities' columns."""
        return self.labels["train"].class_names


@dataclass(frozen=True)
class Summary:
    """All numbers of a report.

    Attributes:
        models: Scores by model and split.
        baselines: Scores by baseline and split.
        test_subsets: Scores on test by title of the subset, then by model or baseline.
        valid_subsets: The same on validation.
        verdicts: By model, on over- and underfitting, from train and validation alone.
        description_scores: By model, the study's description, which contains test figures.
        recommendation: From validation alone.
        comparisons: By "valid" and "test", all pairs of models.
        trusted: By model, on test: its calibration there.
    """

    models: dict[str, dict[str, Scores]]
    baselines: dict[str, dict[str, Scores]]
    test_subsets: dict[str, dict[str, Scores]]
    valid_subsets: dict[str, dict[str, Scores]]
    verdicts: dict[str, str]
    description_scores: dict[str, DescriptionScores]
    recommendation: Recommendation
    comparisons: dict[str, tuple[Comparison, ...]]
    trusted: dict[str, CalibratedPerformance]


def summarise(study: Study) -> Summary:
    """Every number that is reported; computed once a study."""
    return study.summary


def _summarised(study: Study) -> Summary:
    models = {name: _scores(by_split, study.groups) for name, by_split in study.models.items()}
    everyone = {**study.models, **study.baselines}
    train = next(iter(models.values()))["train"]
    commonest = max(part.n for part in train.recall.values()) / train.n
    return Summary(
        models=models,
        baselines={name: _scores(by_split, study.groups) for name, by_split in study.baselines.items()},
        test_subsets=_on_subsets(everyone, "test", study.test_subsets, study.groups),
        valid_subsets=_on_subsets(everyone, "valid", study.valid_subsets, study.groups),
        verdicts={name: _verdict(s["train"], s["valid"], commonest) for name, s in models.items()},
        description_scores={
            name: description_scores(*map(_accuracy, s.values())) for name, s in models.items()
        },
        recommendation=recommend(
            {name: by_split["valid"] for name, by_split in study.models.items()}, study.groups
        ),
        comparisons={
            split: compare({name: one[split] for name, one in study.models.items()}, study.groups)
            for split in ("valid", "test")
        },
        trusted={
            name: calibrated_performance(study.models[name]["test"], calibration)
            for name, calibration in study.calibrations.items()
        },
    )


def _on_subsets(
    everyone: Mapping[str, BySplit],
    split: str,
    subsets: Mapping[str, Collection[str]],
    groups: Mapping[str, str],
) -> dict[str, dict[str, Scores]]:
    return {
        title: {name: evaluate(subset(one[split], ids), groups) for name, one in everyone.items()}
        for title, ids in subsets.items()
    }


def _scores(by_split: BySplit, groups: Mapping[str, str]) -> dict[str, Scores]:
    return {split: evaluate(by_split[split], groups) for split in SPLITS}


def _verdict(train: Scores, valid: Scores, baseline: float) -> str:
    losses = train.loss.value or 0.0, valid.loss.value or 0.0
    return verdict(losses[0], _accuracy(train), losses[1], _accuracy(valid), train.n, valid.n, baseline)


def _accuracy(scores: Scores) -> float:
    return scores.accuracy.value or 0.0
