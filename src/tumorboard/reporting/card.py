"""A model card of the recommended model, for whoever meets the file without its study."""

from tumorboard import NOTICE
from tumorboard.reporting.markdown import escaped, table
from tumorboard.reporting.material import Material
from tumorboard.reporting.numbers import of_n
from tumorboard.reporting.study import SYNTHETIC


def model_card(material: Material) -> str:
    """Markdown; what the run cannot know is asked and not made up."""
    facts, name = material.study.facts, material.recommended
    rows = [[escaped(c), of_n(share)] for c, share in material.scores.recall.items()]
    subsets = [
        f"- {escaped(title)}: accuracy {of_n(scores[name].accuracy)}"
        for title, scores in material.summary.test_subsets.items()
    ]
    findings = [f"- {one.code}: {escaped(one.title)}" for one in facts.grave]
    independence = "No patient is in two parts." if facts.grouped else "Patient independence was not checked."
    parts = [
        f"**{NOTICE}**",
        *([f"**{SYNTHETIC}**"] if facts.synthetic else []),
        f"# Model card: {escaped(name)}",
        f"models/{escaped(name)}.keras, of recipe {escaped(facts.recipe)}, seed {facts.seed}. Input, classes "
        "and hash are in the JSON file beside it.",
        "## Intended use",
        "Research on images like those it was trained on. **open:** for which question, by whom?",
        "## Out of scope",
        "Diagnosis, and any decision about a patient. Images of other scanners, hospitals, body parts or "
        "groups of patients: none were tested in this run.",
        "## Training data",
        f"{len(material.study.labels['train'])} images to train on, "
        f"{len(material.study.labels['valid'])} to validate; classes: "
        f"{', '.join(map(escaped, material.study.class_names))}. {independence} "
        "**open:** where do they come from, of whom, under which licence, labelled by whom?",
        "## How good",
        "\n".join([f"- test: accuracy {of_n(material.scores.accuracy)}", *subsets]),
        table(["class of test", "recall (95 % interval)"], rows),
        escaped(material.summary.verdicts[name]),
        "## Known faults of the data",
        "\n".join(findings) or "The audit found no error.",
        "## Fairness",
        "**open:** the run knows nothing of sex, age, origin or scanner of the patients.",
    ]
    return "\n\n".join(parts) + "\n"
