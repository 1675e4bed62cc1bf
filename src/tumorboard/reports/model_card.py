"""A model card of the recommended model, for whoever meets the file without its run."""

from tumorboard.reports.document import Block, BulletList, Cell, Document, Paragraph, Section, Table, in_words
from tumorboard.reports.run_report import notices
from tumorboard.reports.run_results import RunResults


def model_card(results: RunResults) -> Document:
    """Compose the card; what the run cannot know is asked and not made up."""
    made, name = results.provenance, results.recommended
    accuracies = [f"test: accuracy {in_words(results.test_scores.accuracy)}"]
    accuracies += [
        f"{title}: accuracy {in_words(scores[name].accuracy)}"
        for title, scores in results.subsets["test"].items()
    ]
    recalls: list[list[Cell]] = [[c, recall] for c, recall in results.test_scores.recall.items()]
    faults = [f"{finding.code}: {finding.title}" for finding in results.severe_findings]
    independence = (
        "No patient is in two splits." if made.groups_known else "Patient independence was not checked."
    )
    sizes = (
        f"{len(results.reference['train'])} images to train on, {len(results.reference['valid'])} to "
        f"validate; classes: {', '.join(results.class_names)}. {independence}"
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
            Table(["class of test", "recall (95% CI)"], recalls, "Recall"),
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
