"""The results of a run in one record, computed once from predictions; `metrics.json` is written from it."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tumorboard import NOTICE
from tumorboard.audit.leak_meter import LeakMeter
from tumorboard.data.class_folders import SPLITS
from tumorboard.errors import DataError
from tumorboard.evaluation.baselines import baselines
from tumorboard.evaluation.model_selection import (
    DescriptionScores,
    Recommendation,
    description_scores,
    recommend,
)
from tumorboard.evaluation.overfitting import verdict
from tumorboard.evaluation.patients import (
    PatientRule,
    PatientScores,
    calibrated_per_patient,
    score_patients,
)
from tumorboard.evaluation.scores import Scores, score
from tumorboard.evaluation.selective_prediction import (
    CalibratedPerformance,
    Calibration,
    calibrated_performance,
)
from tumorboard.evaluation.significance import Comparison, compare
from tumorboard.evaluation.subgroups import subset
from tumorboard.predictions import Predictions, aligned
from tumorboard.reports.document import CaptionedImage

FORMAT_VERSION = 3
SPLIT_TITLES = {"train": "train", "valid": "validation", "test": "test"}
MAJORITY_CLASS = "majority class"
COMBINED = ("ensemble", "chained")
"""Names that a run gives to the models that it makes of its other models."""
SERIES = "TB409"
"""The audit's code for series of images, recognised by file names, that lie in several splits."""
SYNTHETIC = "Synthetic images of no patient: no number here says anything about medicine."
_PACKAGES = ("tumorboard", "keras", "tensorflow-cpu", "tensorflow", "jax", "torch", "numpy")

BySplit = Mapping[str, Predictions]
ScoresBySplit = Mapping[str, Scores]
History = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class AuditFinding:
    """What the audit found, in a line, and what it means for the results, in a sentence."""

    severity: str
    code: str
    title: str
    consequence: str


@dataclass(frozen=True)
class Provenance:
    """How a run was made.

    Attributes:
        recipe: The recipe's name.
        seed: The run's one seed.
        settings: The recipe as TOML text.
        environment: Versions, threads, machine, backend, command.
        test_scorings: How often the test split was scored in the run's folder.
        models: A line per model on how it was made, for example its epochs or weights.
        histories: By trained model, rows with epoch, loss, accuracy, val_loss, val_accuracy.
        best_epochs: By trained model, the epoch whose weights were kept.
        loss_titles: By model, what to call the loss of its history; that of smoothed labels is no log loss.
        groups_known: Whether every image has a group (patient).
        images_with_group: How many have one.
        groups_found: Whether file names gave some of the groups.
        synthetic: Whether all images are drawn by a program.
        seconds: By phase, read last so that no phase is missing.
    """

    recipe: str
    seed: int
    settings: str
    environment: Mapping[str, Any]
    test_scorings: int
    models: tuple[str, ...] = ()
    histories: Mapping[str, History] = field(default_factory=dict)
    best_epochs: Mapping[str, int] = field(default_factory=dict)
    loss_titles: Mapping[str, str] = field(default_factory=dict)
    groups_known: bool = False
    images_with_group: int = 0
    groups_found: bool = False
    synthetic: bool = False
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def versions(self) -> dict[str, str]:
        """Version by package, of those that decide about numbers."""
        return {name: str(self.environment[name]) for name in _PACKAGES if name in self.environment}


@dataclass(frozen=True)
class RunResults:
    """All results of a run; `score_run` makes it.

    Attributes:
        predictions: By model and split; all of one split are of the same images.
        scores: By model and split.
        baselines: By baseline, which uses no image, and split.
        subsets: By split ("valid", "test"), title of a subset of its images, and model or baseline.
        fit_verdicts: By model, on over- and underfitting, from train and validation alone.
        description_scores: By model, balance, average and composite, which contain test accuracies.
        recommendation: From validation alone.
        comparisons: By split ("valid", "test"), of all pairs of models.
        calibration: By model, what was fitted on validation and its performance on test.
        findings: Of the audit, the most severe first.
        provenance: How the run was made.
        leaks: How much of the accuracy on a random split is recognition of patients; None if unknown.
        patients: By split in which a patient has several images: scores of models and baselines per patient.
        patient_calibration: As `calibration`, of patients; of models with patients in validation and test.
        groups: By image id its group (patient), where groups are known.
        thumbnails: By image id, each example image and its heat maps, small.
        missing_maps: Why some or all heat maps are missing; "" if none is.
    """

    predictions: Mapping[str, BySplit]
    scores: Mapping[str, ScoresBySplit]
    baselines: Mapping[str, ScoresBySplit]
    subsets: Mapping[str, Mapping[str, Mapping[str, Scores]]]
    fit_verdicts: Mapping[str, str]
    description_scores: Mapping[str, DescriptionScores]
    recommendation: Recommendation
    comparisons: Mapping[str, tuple[Comparison, ...]]
    calibration: Mapping[str, CalibratedPerformance]
    findings: tuple[AuditFinding, ...]
    provenance: Provenance
    leaks: LeakMeter | None = None
    patients: Mapping[str, PatientScores] = field(default_factory=dict)
    patient_calibration: Mapping[str, CalibratedPerformance] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    thumbnails: Mapping[str, Sequence[CaptionedImage]] = field(default_factory=dict)
    missing_maps: str = ""

    @property
    def recommended(self) -> str:
        """The recommended model's name."""
        return self.recommendation.model

    @property
    def test_predictions(self) -> dict[str, Predictions]:
        """Of every model."""
        return {name: by_split["test"] for name, by_split in self.predictions.items()}

    @property
    def test_scores(self) -> Scores:
        """The recommended model's on test."""
        return self.scores[self.recommended]["test"]

    @property
    def headline(self) -> tuple[str, Scores]:
        """The unit and the scores that come first: of patients if nearly all test images have one."""
        patients = self.patients.get("test")
        if patients is None or not patients.nearly_all:
            return "image", self.test_scores
        return "patient", patients.scores[self.recommended]

    @property
    def calibrated_test_scores(self) -> Scores:
        """The same with the confidence that `predict` states: calibrated, where there is a calibration."""
        calibration = self.calibration.get(self.recommended)
        return self.test_scores if calibration is None else calibration.scores

    @property
    def all_scores(self) -> dict[str, ScoresBySplit]:
        """Of the models, then of the baselines."""
        return {**self.scores, **self.baselines}

    @property
    def reference(self) -> BySplit:
        """Predictions by split to take ids, labels and class names from."""
        return next(iter(self.predictions.values()))

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the probabilities' columns."""
        return self.reference["train"].class_names

    @property
    def severe_findings(self) -> tuple[AuditFinding, ...]:
        """Errors of the audit, and series across splits, which it can only warn of."""
        return tuple(f for f in self.findings if f.severity == "error") + self.series_across_splits

    @property
    def series_across_splits(self) -> tuple[AuditFinding, ...]:
        """What the audit found of them; where no series is in two splits, its finding is a note."""
        return tuple(f for f in self.findings if f.code == SERIES and f.severity == "warning")


def score_run(
    predictions: Mapping[str, BySplit],
    provenance: Provenance,
    *,
    subsets: Mapping[str, Mapping[str, Collection[str]]] = {},
    groups: Mapping[str, str] = {},
    calibrations: Mapping[str, Calibration] = {},
    findings: tuple[AuditFinding, ...] = (),
    leaks: LeakMeter | None = None,
    patient_rules: Mapping[str, PatientRule] = {},
) -> RunResults:
    """Compute every number that a run reports.

    Args:
        predictions: By model, then by each of `SPLITS`.
        provenance: How the run was made.
        subsets: By split ("valid", "test") and title, ids of images that are scored once more by themselves,
            for example those without near duplicates in train.
        groups: By image id its group (patient), where groups are known.
        calibrations: By model, what was fitted on validation.
        findings: Of the audit, the most severe first.
        leaks: What the leak meter measured.
        patient_rules: By model, how its predictions of a patient's images are combined, chosen on validation.

    Raises:
        DataError: No model, a split that is missing or empty, or models that were given other images.
    """
    _require_all_splits(predictions)
    blind = baselines(next(iter(predictions.values())))
    everyone = {**predictions, **blind}
    scores = {
        name: {split: score(each[split], groups) for split in SPLITS} for name, each in everyone.items()
    }
    of_models = {name: scores[name] for name in predictions}
    on = {split: {name: each[split] for name, each in predictions.items()} for split in SPLITS}
    temperatures = {name: fitted.temperature for name, fitted in calibrations.items()}
    patients = {
        split: score_patients(
            {name: each[split] for name, each in everyone.items()}, groups, patient_rules, temperatures
        )
        for split in SPLITS
    }
    train = next(iter(scores.values()))["train"]
    majority_share = max(recall.n for recall in train.recall.values()) / train.n
    return RunResults(
        predictions=predictions,
        scores=of_models,
        baselines={name: scores[name] for name in blind},
        subsets={
            split: {
                title: {name: score(subset(each[split], ids), groups) for name, each in everyone.items()}
                for title, ids in subsets.get(split, {}).items()
            }
            for split in ("test", "valid")
        },
        fit_verdicts={
            name: _fit_verdict(each["train"], each["valid"], majority_share)
            for name, each in of_models.items()
        },
        description_scores={
            name: description_scores(*(_accuracy(each[split]) for split in SPLITS))
            for name, each in of_models.items()
        },
        recommendation=recommend(on["valid"], groups),
        comparisons={split: compare(on[split], groups) for split in ("valid", "test")},
        calibration={
            name: calibrated_performance(on["test"][name], fitted, groups)
            for name, fitted in calibrations.items()
        },
        findings=findings,
        provenance=provenance,
        leaks=leaks,
        patients={split: each for split, each in patients.items() if each},
        patient_calibration=calibrated_per_patient(on["test"], groups, patient_rules, temperatures),
        groups=groups,
    )


def metrics_json(results: RunResults) -> str:
    """Return all numbers as JSON text; equal predictions give equal text, for it holds no time or version.

    Undefined values are null, and so are the limits of an interval that is refused; its note says why.
    docs/run-folder.md describes the keys.
    """
    content = {
        "format_version": FORMAT_VERSION,
        "notice": NOTICE,
        "recipe": results.provenance.recipe,
        "seed": results.provenance.seed,
        "class_names": results.class_names,
        "recommendation": asdict(results.recommendation),
        "models": {
            name: {
                "splits": scores_as_dicts(scores),
                "fit_verdict": results.fit_verdicts[name],
                "description_scores": {
                    **asdict(results.description_scores[name]),
                    "contains_test_results": True,
                },
                "calibration": results.calibration[name].to_dict() if name in results.calibration else None,
                "patient_calibration": results.patient_calibration[name].to_dict()
                if name in results.patient_calibration
                else None,
            }
            for name, scores in results.scores.items()
        },
        "leak_meter": asdict(results.leaks) if results.leaks else None,
        "patients": {split: asdict(each) for split, each in results.patients.items()},
        "comparisons": {
            split: [asdict(pair) for pair in pairs] for split, pairs in results.comparisons.items()
        },
        **{
            f"{split}_subsets": {title: scores_as_dicts(scores) for title, scores in subsets.items()}
            for split, subsets in results.subsets.items()
        },
        "baselines": {
            name: {"splits": scores_as_dicts(scores)} for name, scores in results.baselines.items()
        },
    }
    return as_json(content)


def as_json(content: Mapping[str, Any]) -> str:
    """Return indented JSON text in which no number can be NaN."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def scores_as_dicts(scores: Mapping[str, Scores]) -> dict[str, dict[str, object]]:
    """Return scores by the same keys, ready for JSON."""
    return {name: each.to_dict() for name, each in scores.items()}


def _require_all_splits(predictions: Mapping[str, BySplit]) -> None:
    if not predictions:
        raise DataError("expected predictions of at least one model to report on, found none")
    for name, by_split in predictions.items():
        missing = [split for split in SPLITS if split not in by_split or not len(by_split[split])]
        if missing:
            raise DataError(f"expected predictions of {name} on {', '.join(SPLITS)}; missing: {missing}")
    for split in SPLITS:
        names = [f"{name}-{split}" for name in predictions]
        aligned(*(by_split[split] for by_split in predictions.values()), names=names)


def _fit_verdict(train: Scores, valid: Scores, majority_share: float) -> str:
    losses = train.loss.value or 0.0, valid.loss.value or 0.0
    return verdict(losses[0], train.accuracy, losses[1], valid.accuracy, majority_share)


def _accuracy(scores: Scores) -> float:
    return scores.accuracy.value or 0.0
