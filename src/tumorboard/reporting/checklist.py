"""A checklist for whoever writes the study up: what the run knows is filled in, the rest is asked."""

from collections.abc import Mapping

from tumorboard import NOTICE
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
    """By CLAIM's number what the run knows of it."""
    facts, summary = material.study.facts, material.summary
    sizes = ", ".join(f"{split} {len(material.study.labels[split])} images" for split in SPLITS)
    environment = {name: value for name, value in material.environment.items() if name != "command"}
    subsets = "; ".join(
        f"{title}: {s[material.recommended].n} images" for title, s in summary.test_subsets.items()
    )
    found = "; ".join(f"{one.code} {one.title}" for one in facts.findings if one.severity == "error")
    groups = (
        "Groups (patients) are kept in one part." if facts.grouped else "Not checked: the data names none."
    )
    return {
        9: "Images are resized as the section image of recipe.toml says; all else is inside the models.",
        10: f"Test is also scored on subsets: {subsets or 'none'}.",
        11: f"Classes: {', '.join(material.study.class_names)}. What each means: to be said by the authors.",
        13: f"What the audit calls errors: {found or 'nothing'}.",
        19: f"{sizes}. Why so many: to be said by the authors.",
        20: "manifest.csv lists the part of every image with its hash.",
        21: groups,
        22: f"Models: {', '.join(material.test)}; every layer is in models/. {' '.join(facts.models)}",
        23: ", ".join(f"{name} {value}" for name, value in environment.items()),
        24: "Backbone and weights of each model are in recipe.toml; all draws come from its seed.",
        25: "Augmentation, optimiser, schedule, epochs: recipe.toml; every epoch: history/.",
        26: summary.recommendation.reason,
        27: "; ".join(line for line in facts.models if line.startswith(("ensemble", "chained"))) or "none",
        28: "Accuracy, log loss, recall of each class, and the other figures of metrics.json.",
        29: "95 % Wilson intervals of proportions; exact McNemar tests between models.",
        32: "None was tested in this run.",
        33: f"{sizes}; by class in report.html.",
        35: f"{material.recommended} on test: accuracy {of_n(material.scores.accuracy)}.",
        36: "Each proportion in report.html and metrics.json has its n and its interval.",
        37: "Confusion matrices and the surest errors are in report.html.",
        38: f"One run of seed {facts.seed}; test was scored {material.looks} time(s). Others: the authors.",
        41: f"Every setting is in recipe.toml; to repeat: {facts.command}",
    }
