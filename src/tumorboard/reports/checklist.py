"""A reporting checklist (CLAIM, TRIPOD+AI): items that the run can answer are filled in, others are open."""

from collections.abc import Mapping

from tumorboard.data.class_folders import SPLITS
from tumorboard.errors import plural
from tumorboard.reports.document import BulletList, Document, Paragraph, Section, Table, in_words
from tumorboard.reports.overview import patient_independence
from tumorboard.reports.performance import METRICS
from tumorboard.reports.run_report import notices
from tumorboard.reports.run_results import COMBINED, RunResults

OPEN = "open:"

_TOPICS = (
    "title names the method",
    "structured abstract",
    "clinical background and role",
    "aims and hypotheses",
    "prospective or retrospective",
    "study goal",
    "sources of the data",
    "who and what was eligible",
    "preprocessing",
    "subsets of the data",
    "definition of the data elements",
    "de-identification",
    "missing data",
    "definition of the reference standard",
    "why this reference standard",
    "annotators",
    "annotation tools",
    "agreement between annotators",
    "sample size",
    "how the data were partitioned",
    "level at which splits are disjoint",
    "description of the model",
    "software",
    "initialization of the weights",
    "training",
    "selection of the final model",
    "ensembling",
    "metrics",
    "uncertainty",
    "robustness",
    "explanations",
    "external data",
    "flow of cases",
    "characteristics of patients in each split",
    "performance",
    "estimates and their precision",
    "analysis of failures",
    "limitations",
    "implications for practice",
    "registration",
    "where protocol and code are",
    "funding",
)
"""In the order and with the numbers of CLAIM (Radiology: Artificial Intelligence 2 (2020) e200029)."""

_TRIPOD = (
    "Were patients or the public involved, and how?",
    "Could the model serve some groups of patients worse than others, and was that examined?",
    "Who is meant to use the model, where in care, and with what training?",
    "Are data, code and models available to others, and how?",
)
"""What TRIPOD+AI (G. S. Collins and others, BMJ 385 (2024) e078378) asks besides."""


def checklist(results: RunResults) -> Document:
    """Compose every topic with the run's answer, or as open; nothing is made up."""
    known = answers(results)
    rows = [
        [str(number), topic, known.get(number, f"{OPEN} only the authors know")]
        for number, topic in enumerate(_TOPICS, 1)
    ]
    intro = (
        f"Numbers are those of CLAIM. {len(known)} of {len(rows)} are filled in by the run, as far as it "
        "knows them; read them, complete them, and answer the rest."
    )
    table = Table(["item", "topic", "what the run knows"], rows, "Topics")
    return Document(
        "Checklist for reporting the study",
        notices(results),
        [
            Section("CLAIM", [Paragraph(intro), table]),
            Section(
                "In addition, for TRIPOD+AI",
                [BulletList([Paragraph(question, OPEN) for question in _TRIPOD])],
            ),
        ],
    )


def answers(results: RunResults) -> Mapping[int, str]:
    """Return by CLAIM's number what the run knows, and in brackets the file of the run that holds it."""
    made, name = results.provenance, results.recommended
    n = {split: len(results.reference[split]) for split in SPLITS}
    sizes = ", ".join(f"{split} {plural(size, 'image')}" for split, size in n.items())
    environment = ", ".join(f"{key} {value}" for key, value in made.environment.items() if key != "command")
    subsets = results.subsets["test"]
    subset_sizes = "; ".join(
        f"{title}: {plural(scores[name].n, 'image')}" for title, scores in subsets.items()
    )
    findings = "; ".join(f"{finding.code} {finding.title}" for finding in results.severe_findings)
    accuracies = [f"all images: {in_words(results.test_scores.accuracy)}"]
    accuracies += [f"{title}: {in_words(scores[name].accuracy)}" for title, scores in subsets.items()]
    mapped = sum(len(images) > 1 for images in results.thumbnails.values())
    combined = "; ".join(line for line in made.models if line.startswith(COMBINED))
    if patients := results.patients.get("test"):
        accuracies.append(f"per patient: {in_words(patients.scores[name].accuracy)}")
    known = {
        7: ("The files named in the manifest. Where they come from: the authors.", "manifest.csv"),
        8: (f"{sum(n.values())} images were used. Who and what was eligible: the authors.", "manifest.csv"),
        9: ("Images are resized as the section image says; all else is inside the models.", "recipe.toml"),
        10: (f"Test is also scored on subsets: {subset_sizes or 'none'}.", "metrics.json"),
        11: (f"Classes: {', '.join(results.class_names)}. What each means: the authors.", "metrics.json"),
        13: (f"The most severe findings of the audit: {findings or 'none'}.", "audit.json"),
        19: (f"{sizes}. Why so many: the authors.", "manifest.csv"),
        20: ("The split of every image is listed, with its hash.", "manifest.csv"),
        21: (patient_independence(results), "manifest.csv"),
        22: (f"Models: {', '.join(results.predictions)}. {'; '.join(made.models)}", "models/*.json"),
        23: (environment, "environment.json"),
        24: ("Backbone and weights of each model; all random numbers come from its seed.", "recipe.toml"),
        25: ("Augmentation, optimizer, schedule, epochs; every epoch is in history/.", "recipe.toml"),
        26: (results.recommendation.reason, "metrics.json"),
        27: (combined or "none", "models/*.json"),
        28: (f"Accuracy, {', '.join(METRICS.values())}, ECE; per class recall and others.", "metrics.json"),
        29: ("95% CI; paired tests between models, corrected by Holm's method.", "metrics.json"),
        30: (f"Test accuracy of {name}: {'; '.join(accuracies)}. No other change was tried.", "metrics.json"),
        31: (f"Grad-CAM heat maps of {plural(mapped, 'test image')}.", "report.html"),
        32: ("None was tested in this run.", "metrics.json"),
        33: (f"{sizes}; by class in report.html.", "manifest.csv"),
        35: (f"{name} on test: accuracy {in_words(results.test_scores.accuracy)}.", "metrics.json"),
        36: ("Each proportion has its n and its interval.", "metrics.json"),
        37: ("Confusion matrices, most confident errors, strongest disagreements.", "report.html"),
        38: (
            f"One run of seed {made.seed}; test was scored {plural(made.test_scorings, 'time')}. Others: "
            "the authors.",
            "test_evaluations.json",
        ),
        41: (
            f"Every setting is in recipe.toml; to repeat: {made.environment['command']}",
            "environment.json",
        ),
    }
    return {number: f"{text} [{file}]" for number, (text, file) in known.items()}
