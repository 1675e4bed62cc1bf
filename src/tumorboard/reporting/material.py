"""Everything that a report shows, gathered before a line of it is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tumorboard.evaluation.scores import Scores
from tumorboard.predictions import Predictions
from tumorboard.reporting.cases import Picture
from tumorboard.reporting.study import Study, Summary, summarise

History = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Material:
    """A finished run, as its folder describes it.

    Attributes:
        study: Predictions, baselines, facts.
        histories: By model, rows with epoch, loss, accuracy, val_loss, val_accuracy.
        best_epochs: By model, the epoch whose weights were kept.
        environment: Versions, threads, machine, command.
        recipe: The settings as TOML text.
        looks: How often test was scored.
        pictures: By sample id, of the cases that are shown.
        losses: By model, what to call the loss in its history; "loss" if it is the tables' log loss.
    """

    study: Study
    histories: Mapping[str, History]
    best_epochs: Mapping[str, int]
    environment: Mapping[str, object]
    recipe: str
    looks: int
    pictures: Mapping[str, Sequence[Picture]] = field(default_factory=dict)
    losses: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def summary(self) -> Summary:
        """All numbers."""
        return summarise(self.study)

    @property
    def recommended(self) -> str:
        """The recommended model's name."""
        return self.summary.recommendation.model

    @property
    def test(self) -> dict[str, Predictions]:
        """What each model says of test."""
        return {name: by_split["test"] for name, by_split in self.study.models.items()}

    @property
    def scores(self) -> Scores:
        """The recommended model's on test."""
        return self.summary.models[self.recommended]["test"]

    @property
    def stated(self) -> Scores:
        """The same as `predict` states its confidence: tempered, where there is a calibration."""
        one = self.summary.trusted.get(self.recommended)
        return self.scores if one is None else one.scores
