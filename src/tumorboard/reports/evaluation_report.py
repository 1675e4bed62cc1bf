"""Predictions of any origin evaluated on each set of images: the record, its JSON and its report."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property

from tumorboard import NOTICE
from tumorboard.evaluation.intervals import Estimate
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
from tumorboard.evaluation.subgroups import MIN_SUBGROUP_SIZE, Subgroup, subgroups
from tumorboard.predictions import Predictions, aligned
from tumorboard.reports import terminal
from tumorboard.reports.agreement import differences
from tumorboard.reports.document import (
    Block,
    BulletList,
    Cell,
    Document,
    Paragraph,
    Section,
    Table,
    cell_text,
)
from tumorboard.reports.performance import class_table, metric_blocks, patient_section, recall_table
from tumorboard.reports.run_results import as_json
from tumorboard.reports.uncertainty import calibrated_blocks, patient_calibration_blocks, temperature_blocks

FORMAT_VERSION = 2

_MODELS, _PAIRS = 6, 3  # in a summary


@dataclass(frozen=True)
class Evaluation:
    """Models on the same images.

    Attributes:
        title: What the images are.
        models: By name, predictions of the same images.
        groups: By image id its group (patient), where groups are known.
        columns: By metadata column, its value by image id.
        calibrations: By model, what was fitted on its validation images.
        notes: What the reader must know first.
        patient_rules: By model, how its predictions of a patient's images are combined, chosen on its
            validation images; the mean without.

    Raises:
        DataError: The models were given other images or classes.
    """

    title: str
    models: Mapping[str, Predictions]
    groups: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    patient_rules: Mapping[str, PatientRule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        aligned(*self.models.values(), names=list(self.models))

    @cached_property
    def scores(self) -> dict[str, Scores]:
        """By model."""
        return {name: score(each, self.groups) for name, each in self.models.items()}

    @cached_property
    def patients(self) -> PatientScores | None:
        """Per patient; None if no patient has several images."""
        temperatures = {name: fitted.temperature for name, fitted in self.calibrations.items()}
        return score_patients(self.models, self.groups, self.patient_rules, temperatures)

    @property
    def majority_class(self) -> tuple[str, Estimate]:
        """The most frequent class of these images, and its share: the accuracy of always predicting it."""
        shares = next(iter(self.scores.values())).prevalence
        return max(shares.items(), key=lambda item: item[1].value or 0.0)

    @cached_property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Of all pairs of models."""
        return compare(self.models, self.groups)

    @cached_property
    def calibration(self) -> dict[str, CalibratedPerformance]:
        """By model that has a calibration, its calibrated performance on these images."""
        known = {name: each for name, each in self.calibrations.items() if name in self.models}
        return {
            name: calibrated_performance(self.models[name], each, self.groups) for name, each in known.items()
        }

    @cached_property
    def patient_calibration(self) -> dict[str, CalibratedPerformance]:
        """By model that is calibrated per patient, its calibrated performance on the patients."""
        temperatures = {name: fitted.temperature for name, fitted in self.calibrations.items()}
        return calibrated_per_patient(self.models, self.groups, self.patient_rules, temperatures)

    @cached_property
    def subgroups(self) -> dict[str, tuple[tuple[Subgroup, ...], tuple[str, ...]]]:
        """By model, subgroups and what is hidden; nothing without columns."""
        if not self.columns:
            return {}
        return {name: subgroups(each, self.columns, self.groups) for name, each in self.models.items()}


def evaluation_json(evaluation: Evaluation) -> str:
    """Return all numbers as JSON text."""
    calibration, (majority, share) = evaluation.calibration, evaluation.majority_class
    return as_json(
        {
            "format_version": FORMAT_VERSION,
            "notice": NOTICE,
            "title": evaluation.title,
            "notes": evaluation.notes,
            "models": {
                name: {
                    "scores": scores.to_dict(),
                    "calibration": calibration[name].to_dict() if name in calibration else None,
                    "patient_calibration": evaluation.patient_calibration[name].to_dict()
                    if name in evaluation.patient_calibration
                    else None,
                    "subgroups": [asdict(part) for part in evaluation.subgroups.get(name, ((), ()))[0]],
                }
                for name, scores in evaluation.scores.items()
            },
            "patients": asdict(evaluation.patients) if evaluation.patients else None,
            "majority_class": {"class": majority, "accuracy": asdict(share)},
            "comparisons": [asdict(pair) for pair in evaluation.comparisons],
        }
    )


def evaluation_report(evaluation: Evaluation) -> Document:
    """Compose accuracy and recall, all metrics, differences, calibration and subgroups."""
    scores = evaluation.scores
    majority, share = evaluation.majority_class
    rows: list[list[Cell]] = [[name, each.accuracy] for name, each in scores.items()]
    accuracies: list[Block] = [
        Table(
            ["model", "accuracy"], [*rows, [f"always {majority}", share]], "Accuracy, in parentheses 95% CI"
        ),
        recall_table(scores, "Recall of each class"),
    ]
    sections = [
        Section(
            "Performance",
            [*map(Paragraph, evaluation.notes), *accuracies, *metric_blocks(scores)],
            "performance",
        ),
        Section("Each class", [class_table(name, each) for name, each in scores.items()], "classes"),
    ]
    if evaluation.patients:
        section = patient_section(evaluation.patients, scores, evaluation.models, evaluation.calibration)
        sections.insert(1, section)
    if evaluation.comparisons:
        sections.append(differences(evaluation.comparisons))
    if evaluation.calibration:
        blocks = [
            *temperature_blocks(evaluation.calibration, scores),
            *calibrated_blocks(evaluation.calibration),
            *patient_calibration_blocks(evaluation.patient_calibration),
        ]
        sections.append(Section("Calibration and selective prediction", blocks, "calibration"))
    if evaluation.subgroups:
        tables = [block for name in evaluation.subgroups for block in _subgroup_blocks(evaluation, name)]
        sections.append(Section("Subgroups", tables, "subgroups"))
    return Document(evaluation.title, [NOTICE], sections)


def evaluation_summary(evaluation: Evaluation) -> Document:
    """Compose what a command prints at its end: some fifteen lines."""
    models, patients = list(evaluation.scores.items()), evaluation.patients
    majority, share = evaluation.majority_class
    rows: list[list[Cell]] = [[name, scores.accuracy, scores.loss] for name, scores in models[:_MODELS]]
    rows.append([f"always {majority}", share, None])
    header = ["in parentheses 95% CI", "accuracy", "log loss"]
    if patients:
        header.append("accuracy per patient")
        per_patient = [patients.scores[name].accuracy for name, _ in models[:_MODELS]]
        per_patient.append(next(iter(patients.scores.values())).prevalence[majority])
        rows = [[*row, accuracy] for row, accuracy in zip(rows, per_patient, strict=True)]
    sections = [Section("", [Table(header, rows, "")])]
    if len(models) > _MODELS:
        sections.append(Section(f"  and {len(models) - _MODELS} more", []))
    pairs = [pair for pair in evaluation.comparisons if pair.metric == "accuracy"]
    surest = sorted(pairs, key=lambda pair: 1.0 if pair.p_holm is None else pair.p_holm)[:_PAIRS]
    if pairs:
        title = f"Differences in accuracy ({len(surest)} of {len(pairs)}), p after Holm's correction"
        lines = [f"{pair.first} - {pair.second}: {cell_text(pair)}" for pair in surest]
        sections.append(Section(title, [BulletList(lines)]))
    if evaluation.notes:
        sections.append(terminal.short_lines("Notes", evaluation.notes))
    return Document(evaluation.title, [NOTICE], sections)


def _subgroup_blocks(evaluation: Evaluation, name: str) -> list[Block]:
    parts, hidden = evaluation.subgroups[name]
    rows: list[list[Cell]] = [
        [
            f"{part.column} = {part.value or 'missing'}",
            part.scores.accuracy,
            part.scores.balanced_accuracy,
            part.scores.auroc,
            ", ".join(f"{c} {share.value or 0:.2f}" for c, share in part.scores.prevalence.items()),
            "" if part.p_holm is None else f"{part.p_holm:.2g}",
        ]
        for part in parts
    ]
    note = (
        "p: Fisher's exact test of the subgroup's accuracy against all other images, corrected by Holm's "
        f"method for {len(parts)} subgroups. A difference between subgroups need not be caused by what "
        "defines them."
    )
    if hidden:
        note += f" Hidden, because smaller than {MIN_SUBGROUP_SIZE}: {', '.join(hidden)}."
    header = ["subgroup", "accuracy", "balanced accuracy", "AUROC", "prevalences", "p"]
    return [Table(header, rows, f"{name}: subgroups"), Paragraph(note)]
