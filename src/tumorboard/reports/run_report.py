"""The documents of a run: its report, section by section, and the model card of the recommended model."""

import json
from dataclasses import replace

import numpy as np

from tumorboard import NOTICE
from tumorboard.data.class_folders import SPLITS
from tumorboard.reports import terminal
from tumorboard.reports.agreement import differences, error_agreement
from tumorboard.reports.document import (
    Block,
    BulletList,
    Cell,
    Code,
    Document,
    Paragraph,
    Section,
    Table,
    in_words,
)
from tumorboard.reports.example_images import example_images
from tumorboard.reports.overview import (
    audit_findings,
    count_findings,
    limitations,
    overview,
    patient_independence,
)
from tumorboard.reports.performance import (
    confusion_matrices,
    learning_curves,
    patients_in_words,
    performance,
    ranking_curves,
)
from tumorboard.reports.run_results import MAJORITY_CLASS, SPLIT_TITLES, SYNTHETIC, RunResults
from tumorboard.reports.uncertainty import calibration, selective_prediction

_SHOWN = 2
"""Findings and limitations in a summary."""


def run_report(results: RunResults) -> Document:
    """Compose everything that there is to read about a run."""
    return Document(
        f"{len(results.class_names)} classes, {len(results.predictions)} models, "
        f"recipe {results.provenance.recipe}",
        notices(results),
        [
            overview(results),
            performance(results),
            confusion_matrices(results),
            learning_curves(results),
            ranking_curves(results),
            calibration(results),
            selective_prediction(results),
            example_images(results),
            replace(differences(results.comparisons["test"]), folded=True),
            replace(error_agreement(results), folded=True),
            audit_findings(results),
            provenance(results),
        ],
    )


def run_summary(results: RunResults) -> Document:
    """Compose what a command prints at its end: some fifteen lines."""
    guess = {MAJORITY_CLASS: results.baselines[MAJORITY_CLASS]}
    patients, (unit, headline) = results.patients.get("test"), results.headline
    rows: list[list[Cell]] = [
        [
            name,
            scores["valid"].accuracy,
            scores["test"].accuracy,
            *([patients.scores[name].accuracy] if patients else []),
        ]
        for name, scores in {**results.scores, **guess}.items()
    ]
    header = ["accuracy (95% CI)", "validation", "test", *(["test, per patient"] if patients else [])]
    accuracies = Table(header, rows, "")
    gravest = [f"{finding.severity} {finding.code}: {finding.title}" for finding in results.findings[:_SHOWN]]
    caveats = [text.partition(". ")[0].rstrip(".") for text in limitations(results)]
    missing = f"Heat maps are missing: {results.missing_maps}." if results.missing_maps else ""
    minutes, seconds = divmod(round(sum(results.provenance.seconds.values())), 60)
    return Document(
        f"Recommended model: {results.recommended}, "
        f"test accuracy{' per patient' * (unit == 'patient')} {in_words(headline.accuracy)}",
        notices(results),
        [
            Section("", [accuracies]),
            terminal.short_lines(f"Audit of the images: {count_findings(results.findings)}", gravest),
            terminal.short_lines(f"Limitations ({_SHOWN} of {len(caveats)})", caveats[:_SHOWN]),
            Section(missing, []),
            Section(f"Time: {minutes} min {seconds} s", []),
        ],
    )


def notices(results: RunResults) -> list[str]:
    """Return what stands above every report of a run."""
    return [NOTICE, *([SYNTHETIC] if results.provenance.synthetic else [])]


def provenance(results: RunResults) -> Section:
    """Data, settings, versions, times, and the command that repeats the run."""
    made, names = results.provenance, results.class_names
    counts = {
        split: np.bincount(results.reference[split].labels, minlength=len(names)).tolist() for split in SPLITS
    }
    rows: list[list[Cell]] = [[name, *(counts[split][c] for split in SPLITS)] for c, name in enumerate(names)]
    rows.append(["all", *(sum(counts[split]) for split in SPLITS)])
    versions = ", ".join(f"{name} {version}" for name, version in made.versions.items())
    blocks: list[Block] = [
        Table(["class", *SPLIT_TITLES.values()], rows, "Images per split and class"),
        BulletList(
            [
                f"Recipe: {made.recipe}",
                f"Seed: {made.seed}",
                f"Backend: {made.environment['backend']}",
                *([f"Versions: {versions}"] if versions else []),
                *made.models,
            ]
        ),
    ]
    if made.seconds:
        times = [[phase, f"{seconds:.1f}"] for phase, seconds in made.seconds.items()]
        blocks.append(Table(["phase", "seconds"], times, "Time per phase"))
    others = [f"{name}: {value}" for name, value in made.environment.items()]
    blocks += [
        Section("To repeat the run", [Code(str(made.environment["command"]))]),
        Section("All settings", [Code(made.settings)], folded=True),
        Section("Environment", [BulletList(others)], folded=True),
    ]
    return Section("How the run was made", blocks, "provenance", folded=True)


def model_card_metadata(results: RunResults) -> str:
    """Return the block of metadata in front of a model card, as the Hugging Face hub reads it.

    It is YAML, whose values are written as JSON, which is YAML too: no name can break out of its string.
    The license of the model is the author's to choose.
    """
    scores = results.test_scores
    metrics = [
        {"type": kind, "name": f"{title}, {in_words(estimate)}", "value": estimate.value}
        for kind, title, estimate in (
            ("accuracy", "Accuracy", scores.accuracy),
            ("balanced_accuracy", "Balanced accuracy", scores.balanced_accuracy),
            ("roc_auc", "AUROC, mean over classes", scores.auroc),
        )
        if estimate.value is not None
    ]
    task = {"type": "image-classification", "name": "Image classification"}
    dataset = {"type": "image-folder", "name": "the test split of the run", "split": "test"}
    entry = {
        "name": results.recommended,
        "results": [{"task": task, "dataset": dataset, "metrics": metrics}],
    }
    fields: dict[str, object] = {
        "license": "unknown",
        "library_name": "keras",
        "pipeline_tag": "image-classification",
        "tags": ["medical", "research-only", "not-a-medical-device"],
        "model-index": [entry],
    }
    lines = [f"{key}: {json.dumps(value, allow_nan=False)}" for key, value in fields.items()]
    return "\n".join(["---", *lines, "---", "", ""])


def model_card(results: RunResults) -> Document:
    """Compose the card; what the run cannot know is asked and not made up."""
    made, name = results.provenance, results.recommended
    patients = results.patients.get("test")
    accuracies = [f"test: accuracy {in_words(results.test_scores.accuracy)}"]
    if patients:
        per_patient = f"test, per patient: accuracy {in_words(patients.scores[name].accuracy)}"
        accuracies.insert(0 if patients.nearly_all else 1, per_patient)
    accuracies += [
        f"{title}: accuracy {in_words(scores[name].accuracy)}"
        for title, scores in results.subsets["test"].items()
    ]
    recalls: list[list[Cell]] = [
        [c, recall, *([patients.scores[name].recall[c]] if patients else [])]
        for c, recall in results.test_scores.recall.items()
    ]
    faults = [f"{finding.code}: {finding.title}" for finding in results.severe_findings]
    sizes = (
        f"{len(results.reference['train'])} images to train on, {len(results.reference['valid'])} to "
        f"validate; classes: {', '.join(results.class_names)}. {patient_independence(results)}"
    )
    sections: dict[str, list[Block]] = {
        "Model": [
            Paragraph(
                f"models/{name}.keras, of recipe {made.recipe}, seed {made.seed}. Input, classes and hash "
                "are in the JSON file beside it."
            )
        ],
        "Intended use": [
            Paragraph("Research on images like those it was trained on."),
            Paragraph("for which question, by whom?", "open:"),
        ],
        "Out of scope": [
            Paragraph(
                "Diagnosis, and any decision about a patient. Images of other scanners, hospitals, body "
                "parts or groups of patients: none were tested in this run."
            )
        ],
        "Training data": [
            Paragraph(sizes),
            Paragraph("where do they come from, of whom, under which license, labeled by whom?", "open:"),
        ],
        "Performance": [
            BulletList(accuracies),
            Table(
                ["class of test", "recall (95% CI)", *(["recall per patient"] if patients else [])],
                recalls,
                "Recall",
            ),
            *([Paragraph(patients_in_words(patients, [name]))] if patients else []),
            Paragraph(results.fit_verdicts[name]),
        ],
        "Known faults of the data": [
            BulletList(faults) if faults else Paragraph("The audit found no error."),
        ],
        "Fairness": [
            Paragraph("the run knows nothing of sex, age, origin or scanner of the patients.", "open:")
        ],
    }
    return Document(
        f"Model card: {name}",
        notices(results),
        [Section(title, blocks) for title, blocks in sections.items()],
    )
