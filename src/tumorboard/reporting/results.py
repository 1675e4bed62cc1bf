"""A run's results as data (`metrics.json`) and as a page to read (`results.md`)."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict

import numpy as np

from tumorboard import NOTICE
from tumorboard.evaluation.scores import Scores
from tumorboard.reporting import certainty
from tumorboard.reporting.markdown import code_block, decimals, escaped, of_n, table, with_interval
from tumorboard.reporting.study import SPLITS, SYNTHETIC, Facts, Study, Summary, summarise

FORMAT_VERSION = 2
_TITLES = {"train": "train", "valid": "validation", "test": "test"}


def metrics_json(study: Study) -> str:
    """All numbers as JSON text. Equal predictions give equal text: it holds no time and no version.

    Keys: format_version, notice, recipe, seed, class_names, recommendation, models (by name: splits with
    their scores, verdict, description_scores, trust), comparisons (by split: pairs), test_subsets and
    valid_subsets (by title: scores by model) and baselines (by name: splits). Undefined values are null, and
    so are the limits of an interval that is refused; its note says why.
    """
    summary = summarise(study)
    content = {
        "format_version": FORMAT_VERSION,
        "notice": NOTICE,
        "recipe": study.facts.recipe,
        "seed": study.facts.seed,
        "class_names": study.class_names,
        "recommendation": asdict(summary.recommendation),
        "models": {name: _model(name, summary) for name in summary.models},
        "comparisons": {
            split: [asdict(one) for one in found] for split, found in summary.comparisons.items()
        },
        "test_subsets": {title: _splits(scores) for title, scores in summary.test_subsets.items()},
        "valid_subsets": {title: _splits(scores) for title, scores in summary.valid_subsets.items()},
        "baselines": {name: {"splits": _splits(s)} for name, s in summary.baselines.items()},
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _model(name: str, summary: Summary) -> dict[str, object]:
    description = {**asdict(summary.description_scores[name]), "contains_test_figures": True}
    return {
        "splits": _splits(summary.models[name]),
        "verdict": summary.verdicts[name],
        "description_scores": description,
        "trust": summary.trusted[name].to_dict() if name in summary.trusted else None,
    }


def _splits(scores: dict[str, Scores]) -> dict[str, object]:
    return {split: one.to_dict() for split, one in scores.items()}


def results_md(study: Study) -> str:
    """The results as Markdown: recommendation, tables, verdicts, and how they were made."""
    summary = summarise(study)
    sections = [
        f"**{NOTICE}**",
        *([f"**{SYNTHETIC}**"] if study.facts.synthetic else []),
        "# Results",
        *_findings(study.facts),
        *_cautions(study.facts),
        *_recommended(summary),
        *_scores(summary),
        *_subsets(summary, "test", summary.test_subsets),
        *_subsets(summary, "valid", summary.valid_subsets),
        *certainty.sections(summary),
        *_description(summary),
        *_verdicts(summary),
        *_recalls(study, summary),
        *_method(study),
    ]
    return "\n\n".join(sections) + "\n"


def _findings(facts: Facts) -> Iterable[str]:
    """The audit's errors and warnings, which the reader must know before any figure."""
    grave = [one for one in facts.findings if one.severity != "note"]
    if not facts.findings:
        return
    yield f"## The audit found {len(grave)} things to know first"
    lines = [
        f"- **{one.severity} {one.code}:** {escaped(f'{one.title}. {one.consequence}')}" for one in grave
    ]
    notes = len(facts.findings) - len(grave)
    yield "\n".join([*lines, f"- {notes} notes; audit.json has them all, `tumorboard audit` shows them."])


def _cautions(facts: Facts) -> Iterable[str]:
    yield from (escaped(note) for note in facts.notes)
    if not facts.grouped:
        yield (
            "**Patient independence not checked:** the data names no patients, so that slices of one patient "
            "may be in several parts; figures may be too good, and intervals too narrow."
        )
    yield (
        f"**One run, seed {facts.seed}:** its figures carry the noise of the seed, which the intervals do "
        "not contain; another seed may change the order of the models."
    )


def _recommended(summary: Summary) -> Iterable[str]:
    yield f"## Recommended: {escaped(summary.recommendation.model)}"
    yield escaped(summary.recommendation.reason)
    yield "Chosen from train and validation alone; no test figure was used."


def _scores(summary: Summary) -> Iterable[str]:
    yield "## Loss and accuracy"
    rows = [
        [escaped(name), *_loss_and_accuracy(scores)]
        for name, scores in {**summary.models, **summary.baselines}.items()
    ]
    columns = [f"{_TITLES[split]} {what}" for split in SPLITS for what in ("loss", "accuracy")]
    yield table(["model", *columns], rows)
    sizes = ", ".join(f"{_TITLES[s]} n = {one.n}" for s, one in next(iter(summary.models.values())).items())
    yield (
        f"{sizes}. In brackets: 95 % Wilson interval. Loss: mean log loss in nats. The last two rows see no "
        "image: the commonest class of train for every sample (always certain, hence the large loss), and "
        "the class frequencies of train as probabilities."
    )


def _loss_and_accuracy(scores: dict[str, Scores]) -> Iterable[str]:
    for split in SPLITS:
        yield decimals(scores[split].loss.value)
        yield with_interval(scores[split].accuracy)


def _subsets(summary: Summary, split: str, subsets: Mapping[str, Mapping[str, Scores]]) -> Iterable[str]:
    """Accuracy as given, beside what is left of it without what makes it easy."""
    if not subsets:
        return
    yield f"## {_TITLES[split].capitalize()} accuracy, as given and without images that make it easy"
    rows = []
    for name, scores in {**summary.models, **summary.baselines}.items():
        shown = (scores[split], *(subset[name] for subset in subsets.values()))
        rows.append([escaped(name), *(of_n(one.accuracy) for one in shown)])
    yield table(["model", "as given", *(escaped(title) for title in subsets)], rows)


def _description(summary: Summary) -> Iterable[str]:
    yield "## Balance, average and composite"
    yield (
        "The study's own description of its models. **It contains test figures: nothing was chosen by it, "
        "and nothing should be.** Balance is 1 - the largest gap between any two of the three accuracies, "
        "average their mean, composite 0.5 balance + 0.5 average."
    )
    rows = [
        [escaped(name), decimals(one.balance), decimals(one.average), decimals(one.composite)]
        for name, one in summary.description_scores.items()
    ]
    yield table(["model", "balance", "average", "composite"], rows)


def _verdicts(summary: Summary) -> Iterable[str]:
    yield "## Over- and underfitting"
    yield "Judged from train and validation alone."
    yield "\n".join(f"- **{escaped(name)}**: {escaped(text)}" for name, text in summary.verdicts.items())


def _recalls(study: Study, summary: Summary) -> Iterable[str]:
    yield "## Recall of each class"
    yield "Share of a class's samples that the model finds, with its 95 % interval."
    for split in ("valid", "test"):
        rows = [
            [escaped(name), *(of_n(scores[split].recall[c]) for c in study.class_names)]
            for name, scores in summary.models.items()
        ]
        yield table([_TITLES[split], *(escaped(c) for c in study.class_names)], rows)


def _method(study: Study) -> Iterable[str]:
    facts = study.facts
    yield "## How it was made"
    counts = {split: _class_counts(study, split) for split in SPLITS}
    rows = [[_TITLES[split], *map(str, row), str(sum(row))] for split, row in counts.items()]
    yield table(["images", *(escaped(c) for c in study.class_names), "all"], rows)
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    settings = [f"Recipe: {facts.recipe}", f"Seed: {facts.seed}", f"Backend: {facts.backend}"]
    settings += [f"Versions: {versions}"] if versions else []
    settings += facts.models
    yield "\n".join(f"- {escaped(setting)}" for setting in settings)
    if facts.seconds:
        yield table(["phase", "seconds"], [[escaped(name), f"{s:.1f}"] for name, s in facts.seconds.items()])
    yield "To repeat it:"
    yield code_block(facts.command)


def _class_counts(study: Study, split: str) -> list[int]:
    one = study.labels[split]
    counts: list[int] = np.bincount(one.labels, minlength=len(study.class_names)).tolist()
    return counts
