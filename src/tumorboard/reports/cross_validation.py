"""Cross-validation and runs with different seeds: the record of all predictions, its JSON and its report."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from statistics import mean, stdev
from typing import Any

import numpy as np

from tumorboard import NOTICE
from tumorboard.data.class_folders import SPLITS
from tumorboard.errors import plural
from tumorboard.evaluation import metrics, subgroups
from tumorboard.evaluation.intervals import Estimate, Interval, wilson, wilson_grouped
from tumorboard.evaluation.model_selection import most_accurate
from tumorboard.evaluation.patients import PatientScores, score_patients
from tumorboard.evaluation.scores import Scores, group_indices, order_by_id, score
from tumorboard.evaluation.significance import accuracy_test
from tumorboard.predictions import Predictions, aligned
from tumorboard.reports.document import Block, Cell, Document, Paragraph, Section, Table, number
from tumorboard.reports.performance import patient_section
from tumorboard.reports.run_results import COMBINED, SPLIT_TITLES, as_json, scores_as_dicts

FORMAT_VERSION = 3


@dataclass(frozen=True)
class CrossValidation:
    """What was predicted over folds and seeds.

    Attributes:
        held_out: By model, its predictions for every image of the folds, trained without that image's fold.
        methods: The same by combination method, fitted on the other folds.
        runs: By run, model and split: predictions. Runs differ in their seed.
        seconds: By run.
        shortcuts: Classes that file metadata reveal; accuracy is given without them too.
        groups: By image id its group (patient), where groups are known.
    """

    held_out: Mapping[str, Predictions]
    methods: Mapping[str, Predictions]
    runs: Mapping[str, Mapping[str, Mapping[str, Predictions]]]
    seconds: Mapping[str, float] = field(default_factory=dict)
    shortcuts: tuple[str, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def held_out_scores(self) -> dict[str, Scores]:
        """By model."""
        return {name: score(held_out, self.groups) for name, held_out in self.held_out.items()}

    @cached_property
    def patients(self) -> PatientScores | None:
        """Per patient, combined by the mean; None if no patient has several images."""
        return score_patients(self.held_out, self.groups) if self.held_out else None

    @cached_property
    def method_scores(self) -> dict[str, Scores]:
        """By combination method."""
        return {name: score(held_out, self.groups) for name, held_out in self.methods.items()}

    @cached_property
    def spreads(self) -> dict[tuple[str, str, str], "Spread"]:
        """By model, split and metric (accuracy, log loss): its spread over the runs."""
        values: dict[tuple[str, str, str], list[float]] = {}
        for models in self.runs.values():
            for model, splits in models.items():
                for split in SPLITS:
                    ordered, _ = order_by_id(splits[split], {})  # no bit depends on the order of rows
                    if len(ordered):
                        accuracy = metrics.accuracy(ordered.labels, ordered.predicted)
                        values.setdefault((model, split, "accuracy"), []).append(accuracy)
                        loss = metrics.log_loss(ordered.labels, ordered.probabilities)
                        values.setdefault((model, split, "log loss"), []).append(loss)
        return {key: spread(each) for key, each in values.items()}

    @cached_property
    def without_shortcuts(self) -> "CrossValidation":
        """The same without the images of the shortcut classes; empty if there are none."""
        if not self.shortcuts:
            return CrossValidation({}, {}, {})
        return CrossValidation(
            {name: _without(predictions, self.shortcuts) for name, predictions in self.held_out.items()},
            {name: _without(predictions, self.shortcuts) for name, predictions in self.methods.items()},
            {
                run: {
                    model: {
                        split: _without(predictions, self.shortcuts) for split, predictions in splits.items()
                    }
                    for model, splits in models.items()
                }
                for run, models in self.runs.items()
            },
            groups=self.groups,
        )


@dataclass(frozen=True)
class Spread:
    """A metric over n runs; `sd` is the sample's standard deviation, None for one run."""

    n: int
    mean: float
    sd: float | None
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return mean, standard deviation and range."""
    return Spread(
        len(values), mean(values), stdev(values) if len(values) > 1 else None, min(values), max(values)
    )


def cross_validation_json(results: CrossValidation) -> str:
    """Return all numbers as JSON text."""
    return as_json(
        {
            "format_version": FORMAT_VERSION,
            "notice": NOTICE,
            **_as_dicts(results),
            "patients": asdict(results.patients) if results.patients else None,
            "seconds": dict(results.seconds),
            "without_shortcut_classes": {
                "classes": list(results.shortcuts),
                **_as_dicts(results.without_shortcuts),
            },
        }
    )


def _as_dicts(results: CrossValidation) -> dict[str, Any]:
    return {
        "folds": scores_as_dicts(results.held_out_scores),
        "combination_methods": scores_as_dicts(results.method_scores),
        "seeds": {" ".join(key): vars(spread_) for key, spread_ in results.spreads.items()},
    }


def cross_validation_report(results: CrossValidation) -> Document:
    """Compose the held-out scores, the choice of the combination method and the spread over seeds."""
    sections = [held_out_section(results), combination_section(results)] if results.held_out else []
    if results.patients:
        sections.insert(1, patient_section(results.patients, results.held_out_scores, results.held_out))
    sections.append(seed_section(results))
    if results.shortcuts:
        sections.append(shortcut_section(results))
    title = "Cross-validation" if results.held_out else "Runs with different seeds"
    return Document(title, [NOTICE], sections)


def cross_validation_summary(results: CrossValidation) -> Document:
    """Compose what a command prints at its end."""
    sections = []
    if results.held_out:
        rows: list[list[Cell]] = [
            [
                name,
                scores.accuracy,
                scores.loss,
                *([results.patients.scores[name].accuracy] if results.patients else []),
            ]
            for name, scores in results.held_out_scores.items()
        ]
        chosen = most_accurate(results.methods)
        header = ["model", "accuracy", "log loss", *(["accuracy per patient"] if results.patients else [])]
        table = Table(header, rows, "")
        sections = [
            Section("Held-out images of train and validation, in parentheses 95% CI", [table]),
            Section(
                f"Chosen combination method: {chosen}", [Paragraph(_against_best_member(results, chosen))]
            ),
        ]
    spreads: list[list[Cell]] = [
        [model, values.mean, values.sd, values.low, values.high]
        for (model, split, metric), values in results.spreads.items()
        if (split, metric) == ("test", "accuracy")
    ]
    title = f"Test accuracy over {plural(len(results.runs), 'run')}"
    sections.append(Section(title, [Table(["model", "mean", "SD", "lowest", "highest"], spreads, "")]))
    if results.seconds:
        sections.append(Section(f"Time per run: {mean(results.seconds.values()):.0f} s", []))
    title = "Cross-validation" if results.held_out else "Runs with different seeds"
    return Document(title, [NOTICE], sections)


def held_out_section(results: CrossValidation) -> Section:
    """How each model does on images that it was not trained on."""
    scores = results.held_out_scores
    first = next(iter(scores.values()))
    groups = f" Intervals resample whole groups (patients), of which there are {first.groups}."
    return Section(
        "Cross-validation on train and validation",
        [
            Paragraph(
                f"{plural(first.n, 'image')}, each predicted by models that were trained without it and "
                f"without its near duplicates. Test was left out.{groups if first.groups else ''}"
            ),
            _score_table(scores, "Held-out images, in parentheses 95% CI"),
        ],
        "folds",
    )


def _score_table(scores: Mapping[str, Scores], caption: str) -> Table:
    classes = list(next(iter(scores.values())).recall)
    metric_titles = {"balanced_accuracy": "balanced accuracy", "auroc": "AUROC", "loss": "log loss"}
    rows: list[list[Cell]] = [
        [
            name,
            each.accuracy,
            *(getattr(each, key) for key in metric_titles),
            *(each.recall[c] for c in classes),
        ]
        for name, each in scores.items()
    ]
    header = ["model", "accuracy", *metric_titles.values(), *(f"recall {c}" for c in classes)]
    return Table(header, rows, caption)


def combination_section(results: CrossValidation) -> Section:
    """Which combination method the folds prefer, and whether it beats the best single model."""
    chosen = most_accurate(results.methods)
    return Section(
        "Combination method",
        [
            Paragraph("Every method was fitted on all folds but one and evaluated on that one."),
            _score_table(results.method_scores, "Combination methods on held-out images"),
            Paragraph(
                "It is the most accurate on held-out images; of those within one image of it, the one of "
                "lowest log loss. The runs below use it.",
                f"Chosen: {chosen}.",
            ),
            Paragraph(_against_best_member(results, chosen)),
        ],
        "methods",
    )


def _against_best_member(results: CrossValidation, method: str) -> str:
    members = {name: each for name, each in results.held_out.items() if name not in COMBINED}
    best = most_accurate(members)
    joint, single = (
        float((each.predicted == each.labels).mean()) for each in (results.methods[method], members[best])
    )
    test, p = accuracy_test(results.methods[method], members[best], results.groups)
    verdict = "is more accurate than" if joint > single else "is less accurate than"
    if p >= 0.05:
        verdict = "is not shown to be better than"
    return (
        f"The ensemble {verdict} its best member, {best}: {number(joint)} and {number(single)} ({test}, "
        f"p = {p:.2g})."
    )


def seed_section(results: CrossValidation) -> Section:
    """How every metric varies with the seed."""
    runs = list(results.runs)
    rows: list[list[Cell]] = [
        [
            f"{model}, {SPLIT_TITLES[split]}, {metric}",
            values.n,
            values.mean,
            values.sd,
            values.low,
            values.high,
        ]
        for (model, split, metric), values in results.spreads.items()
    ]
    blocks: list[Block] = [
        Paragraph(
            "All on one split. No run is shown as the best: the spread is what the seed alone changes."
            if len(runs) > 1
            else "One seed: how much another one would change is not known."
        ),
        Table(
            ["metric", "runs", "mean", "SD", "lowest", "highest"], rows, "Mean, standard deviation and range"
        ),
    ]
    if results.seconds:
        times = spread(list(results.seconds.values()))
        blocks.append(
            Paragraph(f"{times.mean:.0f} s per run on average ({times.low:.0f} to {times.high:.0f} s).")
        )
    blocks.append(Paragraph(f"Results of each run: {', '.join(f'{name}/results.md' for name in runs)}."))
    return Section(f"{plural(len(runs), 'run')}: {', '.join(runs)}", blocks, "seeds")


def shortcut_section(results: CrossValidation) -> Section:
    """The same without classes that file metadata reveal."""
    others = results.without_shortcuts
    blocks: list[Block] = [
        Paragraph(
            f"File metadata alone reveal: {', '.join(results.shortcuts)}. What follows is scored on the "
            "other classes; models were trained on all, and predicting a left-out class counts as wrong. "
            "Test images with near duplicates in train are not left out here; each run's own report does "
            "that."
        )
    ]
    if others.held_out:
        methods = {f"ensemble: {name}": scores for name, scores in others.method_scores.items()}
        blocks.append(_score_table({**others.held_out_scores, **methods}, "Held-out images"))
    kind = "groups" if others.groups else "images"
    rows: list[list[Cell]] = [
        [model, _mean_accuracy(others, model, values.mean), values.n, values.low, values.high]
        for (model, split, metric), values in others.spreads.items()
        if (split, metric) == ("test", "accuracy")
    ]
    header = ["model", f"mean test accuracy (95% CI of the {kind})", "runs", "lowest", "highest"]
    blocks.append(Table(header, rows, "Test accuracy over the runs"))
    return Section("Without the shortcut classes", blocks, "without-shortcuts")


def _mean_accuracy(results: CrossValidation, model: str, value: float) -> Estimate:
    """Mean over the runs, with the interval of the share of runs that are right about an image."""
    same = aligned(*(models[model]["test"] for models in results.runs.values()))
    hits = np.mean([each.predicted == each.labels for each in same], axis=0)
    units = group_indices(same[0].ids, results.groups)
    limits: Interval = wilson(float(hits.sum()), len(hits)) if units is None else wilson_grouped(hits, units)
    return Estimate(value, len(hits), limits.low, limits.high)


def _without(predictions: Predictions, classes: Sequence[str]) -> Predictions:
    names = predictions.class_names
    rows = zip(predictions.ids, predictions.labels, strict=True)
    return subgroups.subset(predictions, [image for image, label in rows if names[label] not in classes])
