"""From the predictions on disk to the run's tables and figures; opens test, last and counted."""

import csv
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tumorboard import storage
from tumorboard.data import phantoms
from tumorboard.evaluation.baselines import baselines
from tumorboard.pipeline import calibrate, leaks
from tumorboard.pipeline.job import Job
from tumorboard.reporting import figures
from tumorboard.reporting.results import metrics_json, results_md
from tumorboard.reporting.study import SPLITS, Facts, Study
from tumorboard.runfolder import RunFolder


def read(job: Job) -> Study:
    """The study from the files of the run folder alone."""
    models = {name: {split: job.predictions(name, split) for split in SPLITS} for name in job.recipe.names}
    return Study(
        models,
        baselines(next(iter(models.values()))),
        facts(job),
        leaks.test_subsets(job),
        leaks.valid_subsets(job),
        job.manifest.groups,
        calibrate.read(job.run),
    )


def learning(job: Job) -> tuple[dict[str, list[dict[str, float]]], dict[str, int]]:
    """By model that was fitted, its history, and the epoch whose weights were kept."""
    histories = {name: _history(job.run.history(name)) for name in job.recipe.names}
    histories = {name: rows for name, rows in histories.items() if rows}
    return histories, {name: int(_details(job, name)["best_epoch"]) for name in histories}


def losses(job: Job) -> dict[str, str]:
    """By model, what the loss in its history is; that of smoothed labels is not the tables' log loss."""
    smoothing = {name: job.recipe.training(name).label_smoothing for name in job.recipe.names}
    return {name: f"loss, labels smoothed by {one:g}" if one else "loss" for name, one in smoothing.items()}


def write(job: Job) -> Study:
    """Write metrics.json, results.md and the figures from the prediction files alone."""
    study, (histories, best) = read(job), learning(job)
    models = study.models
    curves = figures.learning_curves(histories, best, losses(job))
    storage.write_bytes(job.run.figure("learning-curves"), curves)
    for split in SPLITS:
        drawn = figures.confusion_matrices({name: models[name][split] for name in models}, split)
        storage.write_bytes(job.run.figure(f"confusion-{split}"), drawn)
    storage.write_text(job.run.metrics, metrics_json(study))
    storage.write_text(job.run.results, results_md(study))
    return study


def count_look_at_test(run: RunFolder, images: int) -> None:
    """Note that test is being scored; every look makes its figure a little less independent."""
    looks = json.loads(run.test_looks.read_text("utf-8")) if run.test_looks.is_file() else []
    looks.append({"when": datetime.now(UTC).isoformat(timespec="seconds"), "images": images})
    storage.write_json(run.test_looks, looks)


def facts(job: Job) -> Facts:
    """How the run was done so far."""
    environment = json.loads(job.run.environment.read_text("utf-8"))
    packages = ("tumorboard", "keras", "tensorflow-cpu", "tensorflow", "jax", "torch", "numpy")
    looks = len(json.loads(job.run.test_looks.read_text("utf-8")))
    return Facts(
        recipe=job.recipe.name,
        seed=job.recipe.seed,
        command=environment["command"],
        backend=environment["backend"],
        versions={name: environment[name] for name in packages if name in environment},
        seconds=job.seconds(),
        grouped=all(sample.group for sample in job.manifest.samples),
        findings=leaks.findings(job),
        models=tuple(_came_out(name, _details(job, name)) for name in job.recipe.names),
        synthetic=phantoms.drawn(sample.id for sample in job.manifest.samples),
        notes=(f"The test part was scored {looks} time{'s' if looks != 1 else ''} in this run folder.",),
    )


def _history(path: Path) -> list[dict[str, float]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def _details(job: Job, name: str) -> dict[str, Any]:
    contract = json.loads(job.run.model(name).with_suffix(".json").read_text("utf-8"))
    details: dict[str, Any] = contract["details"]
    return details


def _came_out(name: str, details: Mapping[str, Any]) -> str:
    """How training ended, or what an ensemble is made of, in a line."""
    parts = []
    if "epochs" in details:
        parts.append(f"{details['epochs']} epochs, weights of epoch {details['best_epoch']}")
    if "members" in details:
        weights = [f" {weight:.2f}" for weight in details["weights"]] or [""] * len(details["members"])
        members = ", ".join(f"{m}{w}" for m, w in zip(details["members"], weights, strict=True))
        parts.append(f"form {details['form']} of {members}")
    if "first" in details:
        links = [details["first"], *details.get("also", [])]
        parts.append(f"{'links' if links[1:] else 'first link'} {' and '.join(links)}, {details['start']}")
    return f"{name}: {'; '.join(parts)}"
