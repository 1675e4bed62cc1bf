"""A checklist for whoever writes the study up: what the run knows is filled in, the rest is asked."""

from collections.abc import Mapping

from tumorboard import NOTICE
from tumorboard.reporting.board import COMBINED
from tumorboard.reporting.certainty import FIGURES
from tumorboard.reporting.markdown import escaped, table
from tumorboard.reporting.material import Material
from tumorboard.reporting.numbers import of_n
from tumorboard.reporting.study import SPLITS, SYNTHETIC

OPEN = "**open:** "

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
    "removal of identities",
    "missing data",
    "definition of the reference standard",
    "why this reference standard",
    "who annotated",
    "annotation tools",
    "agreement of the annotators",
    "sample size",
    "how the data were partitioned",
    "level at which parts are disjoint",
    "description of the model",
    "software",
    "first values of the weights",
    "training",
    "selection of the final model",
    "ensembling",
    "metrics",
    "uncertainty",
    "robustness",
    "explanations",
    "data from elsewhere",
    "flow of cases",
    "characteristics of patients in each part",
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


def checklist(material: Material) -> str:
    """Markdown; every topic has an answer of the run's or stands open, nothing is made up."""
    known = answers(material)
    rows = [
        [str(number), topic, escaped(known[number]) if number in known else f"{OPEN}only the authors know"]
        for number, topic in enumerate(_TOPICS, 1)
    ]
    parts = [
        f"**{NOTICE}**",
        *([f"**{SYNTHETIC}**"] if material.study.facts.synthetic else []),
        "# Checklist of the study",
        f"Numbers are those of CLAIM. {len(known)} of {len(rows)} are filled in by the run, as far as it "
        "knows them; read them, complete them, and answer the rest.",
        table(["item", "topic", "what the run knows"], rows),
        "## Besides, for TRIPOD+AI",
        "\n".join(f"- {OPEN}{question}" for question in _TRIPOD),
    ]
    return "\n\n".join(parts) + "\n"


def answers(material: Material) -> Mapping[int, str]:
    """By CLAIM's number what the run knows of it, and in brackets the file of the run that says so."""
    facts, summary = material.study.facts, material.summary
    sizes = ", ".join(f"{split} {len(material.study.labels[split])} images" for split in SPLITS)
    environment = {name: value for name, value in material.environment.items() if name != "command"}
    subsets = "; ".join(
        f"{title}: {s[material.recommended].n} images" for title, s in summary.test_subsets.items()
    )
    found = "; ".join(f"{one.code} {one.title}" for one in facts.grave)
    robust = "; ".join(
        f"{title}: {of_n(s[material.recommended].accuracy)}" for title, s in summary.test_subsets.items()
    )
    robust = f"as given: {of_n(material.scores.accuracy)}" + (f"; {robust}" if robust else "")
    groups = (
        "Groups (patients) are kept in one part." if facts.grouped else "Not checked: the data names none."
    )
    many = sum(len(material.study.labels[split]) for split in SPLITS)
    mapped = sum(len(pictures) > 1 for pictures in material.pictures.values())
    known = {
        7: (
            "The files named in the manifest. Where they come from: to be said by the authors.",
            "manifest.csv",
        ),
        8: (
            f"{many} images were used. Who and what was eligible: to be said by the authors.",
            "manifest.csv",
        ),
        9: ("Images are resized as its section image says; all else is inside the models.", "recipe.toml"),
        10: (f"Test is also scored on subsets: {subsets or 'none'}.", "metrics.json"),
        11: (
            f"Classes: {', '.join(material.study.class_names)}. What each means: the authors.",
            "metrics.json",
        ),
        13: (f"The gravest that the audit found: {found or 'nothing'}.", "audit.json"),
        19: (f"{sizes}. Why so many: to be said by the authors.", "manifest.csv"),
        20: ("The part of every image, with its hash, is listed.", "manifest.csv"),
        21: (groups, "manifest.csv"),
        22: (f"Models: {', '.join(material.test)}. {'; '.join(facts.models)}", "models/*.json"),
        23: (", ".join(f"{name} {value}" for name, value in environment.items()), "environment.json"),
        24: ("Backbone and weights of each model; all draws come from its seed.", "recipe.toml"),
        25: ("Augmentation, optimiser, schedule, epochs; every epoch is in history/.", "recipe.toml"),
        26: (summary.recommendation.reason, "metrics.json"),
        27: ("; ".join(one for one in facts.models if one.startswith(COMBINED)) or "none", "models/*.json"),
        28: (
            f"Accuracy, {', '.join(FIGURES.values())}, ECE; of each class recall and others.",
            "metrics.json",
        ),
        29: ("95 % intervals; paired tests between models, corrected by Holm's method.", "metrics.json"),
        30: (f"Recommended model's test accuracy: {robust}. No other change was tried.", "metrics.json"),
        31: (f"Grad-CAM maps of {mapped} test images.", "report.html"),
        32: ("None was tested in this run.", "metrics.json"),
        33: (f"{sizes}; by class in report.html.", "manifest.csv"),
        35: (f"{material.recommended} on test: accuracy {of_n(material.scores.accuracy)}.", "metrics.json"),
        36: ("Each proportion has its n and its interval.", "metrics.json"),
        37: ("Confusion matrices, the surest errors and the most disputed cases.", "report.html"),
        38: (
            f"One run of seed {facts.seed}; test was scored {material.looks} time(s). Others: the authors.",
            "test_evaluations.json",
        ),
        41: (f"Every setting is in recipe.toml; to repeat: {facts.command}", "environment.json"),
    }
    return {number: f"{text} [{file}]" for number, (text, file) in known.items()}
