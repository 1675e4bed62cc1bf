"""What the audit found, as the results need it: lines for the top, and images to leave out."""

import csv
import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from tumorboard import storage
from tumorboard.audit.dataset_facts import FactsCollector
from tumorboard.config import load
from tumorboard.data import synthetic
from tumorboard.data.image_cache import Decoded
from tumorboard.errors import RunFolderError, TumorboardError
from tumorboard.evaluation import selective_prediction
from tumorboard.evaluation.baselines import baselines
from tumorboard.progress import Console
from tumorboard.reporting import board, cases, charts, figures, plots, svg
from tumorboard.reporting.card import model_card
from tumorboard.reporting.cases import Picture
from tumorboard.reporting.checklist import checklist
from tumorboard.reporting.material import Material
from tumorboard.reporting.page import page
from tumorboard.reporting.results import metrics_json, results_md
from tumorboard.reporting.study import SPLITS, Facts, Finding, Study
from tumorboard.reporting.study_page import study_page
from tumorboard.run_folder import RunFolder
from tumorboard.workflows import calibrate
from tumorboard.workflows.audit import audit
from tumorboard.workflows.run_context import RunContext, read_manifest

if TYPE_CHECKING:
    from tumorboard.data.pixels import Pixels
    from tumorboard.explain.gradcam import Map


METADATA = "TB501"
_MIN_SENSITIVITY, _MAX_FALSE_POSITIVES = 0.8, 0.1
"""Limits of sensitivity and false-positive rate from which metadata predict a class well: a shortcut."""


def look(context: RunContext, collected: FactsCollector | None = None) -> None:
    """Audit the run's images, unless that is done; its findings affect neither training nor selection."""
    if context.run.audit.is_file():
        return
    window, problems = context.recipe.image.window, context.decoded.problems
    report = audit(
        context.manifest,
        context.console,
        collected=collected,
        problems=problems,
        matching=context.matching,
        window=window,
    )
    storage.write_json(context.run.audit, report.to_json())


def findings(context: RunContext) -> tuple[Finding, ...]:
    """What the audit found, the worst first."""
    found = _report(context.run)["findings"]
    return tuple(Finding(one["severity"], one["code"], one["title"], one["consequence"]) for one in found)


def valid_subsets(context: RunContext) -> dict[str, set[str]]:
    """By title, the validation images that are left without twins; the figures on all chose the models."""
    clean = _clean(context, "valid")
    return {"without twins in train": clean} if len(clean) < len(context.part("valid").samples) else {}


def test_subsets(context: RunContext) -> dict[str, set[str]]:
    """By title, the test images that are left without twins, and without a class that metadata give away."""
    report, test, clean = _report(context.run), context.part("test").samples, _clean(context, "test")
    subsets = {"without twins in train or validation": clean} if len(clean) < len(test) else {}
    for name in _told_by_metadata(report, context.manifest.class_names):
        others = {sample.id for sample in test if sample.label != name} & clean
        subsets[f"nor {name}, which metadata give away"] = others
    return subsets


def _clean(context: RunContext, split: str) -> set[str]:
    return {sample.id for sample in context.part(split).samples} - set(_report(context.run)["leaked"])


def shortcuts(run: RunFolder, class_names: tuple[str, ...]) -> tuple[str, ...]:
    """The classes that metadata give away, by the run's own audit; none if no other class would be left."""
    told = tuple(_told_by_metadata(_report(run), class_names))
    return told if len(told) < len(class_names) else ()


def _told_by_metadata(report: Mapping[str, Any], class_names: tuple[str, ...]) -> list[str]:
    numbers: dict[str, float] = {}
    for one in report["findings"]:
        if one["code"] == METADATA:
            numbers = one["numbers"]
    return [
        name
        for name in class_names
        if numbers.get(f"{name}: sensitivity", 0) >= _MIN_SENSITIVITY
        and numbers.get(f"{name}: false-positive rate", 1) <= _MAX_FALSE_POSITIVES
    ]


def _report(run: RunFolder) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(run.audit.read_text("utf-8"))
    return content


def read(context: RunContext) -> Study:
    """The study from the files of the run folder alone."""
    models = {
        name: {split: context.predictions(name, split) for split in SPLITS} for name in context.recipe.names
    }
    return Study(
        models,
        baselines(next(iter(models.values()))),
        facts(context),
        test_subsets(context),
        valid_subsets(context),
        context.manifest.groups,
        calibrate.read(context.run),
    )


def learning(context: RunContext) -> tuple[dict[str, list[dict[str, float]]], dict[str, int]]:
    """By model that was fitted, its history, and the epoch whose weights were kept."""
    histories = {name: _history(context.run.history(name)) for name in context.recipe.names}
    histories = {name: rows for name, rows in histories.items() if rows}
    return histories, {name: int(_details(context, name)["best_epoch"]) for name in histories}


def losses(context: RunContext) -> dict[str, str]:
    """By model, what the loss in its history is; that of smoothed labels is not the tables' log loss."""
    smoothing = {name: context.recipe.training(name).label_smoothing for name in context.recipe.names}
    return {name: f"loss, labels smoothed by {one:g}" if one else "loss" for name, one in smoothing.items()}


def write_results(context: RunContext) -> Study:
    """Write metrics.json, results.md and the figures from the prediction files alone."""
    study, (histories, best) = read(context), learning(context)
    models = study.models
    curves = figures.learning_curves(histories, best, losses(context))
    storage.write_bytes(context.run.figure("learning-curves"), curves)
    for split in SPLITS:
        drawn = figures.confusion_matrices({name: models[name][split] for name in models}, split)
        storage.write_bytes(context.run.figure(f"confusion-{split}"), drawn)
    storage.write_text(context.run.metrics, metrics_json(study))
    storage.write_text(context.run.results, results_md(study))
    return study


def record_test_evaluation(run: RunFolder, images: int) -> None:
    """Record that test is being scored; each time makes its estimate a little less independent."""
    file = run.test_evaluations
    times = json.loads(file.read_text("utf-8")) if file.is_file() else []
    times.append({"when": datetime.now(UTC).isoformat(timespec="seconds"), "images": images})
    storage.write_json(file, times)


def facts(context: RunContext) -> Facts:
    """How the run was done so far."""
    environment = json.loads(context.run.environment.read_text("utf-8"))
    packages = ("tumorboard", "keras", "tensorflow-cpu", "tensorflow", "jax", "torch", "numpy")
    looks = len(json.loads(context.run.test_evaluations.read_text("utf-8")))
    return Facts(
        recipe=context.recipe.name,
        seed=context.recipe.seed,
        command=environment["command"],
        backend=environment["backend"],
        versions={name: environment[name] for name in packages if name in environment},
        seconds=context.seconds(),
        grouped=all(sample.group for sample in context.manifest.samples),
        findings=findings(context),
        models=tuple(_came_out(name, _details(context, name)) for name in context.recipe.names),
        synthetic=synthetic.drawn(sample.id for sample in context.manifest.samples),
        notes=(f"The test part was scored {looks} time{'s' if looks != 1 else ''} in this run folder.",),
    )


def _history(path: Path) -> list[dict[str, float]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def _details(context: RunContext, name: str) -> dict[str, Any]:
    spec = json.loads(context.run.model(name).with_suffix(".json").read_text("utf-8"))
    details: dict[str, Any] = spec["details"]
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


_SIDE = 160
_FLAT = 0.5  # of the hottest place
_SECONDS = 60.0  # a slow machine gets the first maps, not a long wait


def maps(
    run: RunFolder, wanted: Mapping[str, Sequence[str]], paths: Mapping[str, Path]
) -> dict[str, list[Picture]]:
    """By image id, where models of the run see what speaks for their own answers (Grad-CAM).

    Args:
        run: A finished run.
        wanted: By image id the names of the models whose maps are wanted.
        paths: Where the files are, or were.

    Returns:
        Nothing for images that cannot be read, and nothing at all when the models cannot be loaded.
    """
    found: dict[str, list[Picture]] = {}
    names = {name for models in wanted.values() for name in models}
    if not names or not any(paths[one].is_file() for one in wanted):
        return found  # without a picture Keras need not be loaded
    from tumorboard.workflows.predictor import load_run

    try:
        predictor = load_run(run.root, sorted(names))
    except TumorboardError:  # models moved away or changed; the report says that there are no maps
        return found
    end = time.monotonic() + _SECONDS
    for one, models in wanted.items():
        try:
            pixels = predictor.read(paths[one])
        except TumorboardError:
            continue
        for name in models if time.monotonic() < end else ():
            heat = predictor.heat_map(name, pixels)
            found.setdefault(one, []).append(Picture(_caption(name, heat), _jpeg(pixels, heat)))
    return found


def _caption(name: str, heat: "Map") -> str:
    """A map without a dark place, or without a bright one, must not be read as a finding."""
    flat = float(heat.min()) > _FLAT or float(heat.max()) == 0.0
    return f"map of {name}" + (": no place stands out" if flat else "")


def _jpeg(pixels: "Pixels", heat: "Map") -> bytes:
    from tumorboard.explain.overlay import overlay

    file = io.BytesIO()
    picture = Image.fromarray(overlay(pixels, heat)).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    picture.save(file, "JPEG", quality=85)
    return file.getvalue()


def report(root: Path) -> Path:
    """Write report.html, and every chart in figures/ as SVG, PNG and CSV; an earlier report is replaced.

    Args:
        root: A finished run's folder, or that of a repeated study.

    Returns:
        The path of report.html.

    Raises:
        RunFolderError: No finished run.
        DataError: A file of it is damaged.
        StorageError: The report cannot be written.
    """
    run = RunFolder(root)
    if not run.metrics.is_file():
        raise RunFolderError(
            f"expected a finished run with metrics.json in {storage.shown(root)}, found none; "
            "repeat tumorboard train until it is done"
        )
    if not run.manifest.is_file() and (metrics := _repeated(run)) is not None:
        storage.write_text(run.report, study_page(metrics))
        return run.report
    material = write_report(_reopened(run))
    for name, chart in plots.everything(material).items():
        storage.write_bytes(run.figure(name), charts.to_png(chart))
    return run.report


def _repeated(run: RunFolder) -> dict[str, Any] | None:
    """The figures of a repeated study, whose folder holds runs and is none itself."""
    try:
        metrics = json.loads(run.metrics.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"expected JSON in {storage.shown(run.metrics)}, found none; restore it"
        ) from error
    return metrics if isinstance(metrics, dict) and "ways_to_combine" in metrics else None


def rescore(root: Path) -> RunFolder:
    """Write metrics.json, results.md and the report anew from the predictions of a finished run.

    A run of before there was a calibration gets one, from its validation predictions.

    Raises:
        RunFolderError: No finished run.
        DataError: A file of it is damaged.
    """
    run = RunFolder(root)
    if not run.metrics.is_file():
        raise RunFolderError(
            f"expected a finished run with metrics.json in {storage.shown(root)}, found none"
        )
    context = _reopened(run)
    if not run.calibration.is_file():
        valid = {name: context.predictions(name, "valid") for name in context.recipe.names}
        calibrate.write(run, {name: selective_prediction.fit_calibration(one) for name, one in valid.items()})
    write_report(context, write_results(context))
    return run


def write_report(context: RunContext, study: Study | None = None) -> Material:
    """Write report.html, its charts as SVG and CSV, the model card and the checklist.

    Args:
        context: A run that has its results.
        study: What they were made of, if it is at hand: its numbers need not be computed again.
    """
    material = _material(context, read(context) if study is None else study.told_with(facts(context)))
    for name, chart in plots.everything(material).items():
        path = context.run.figure(name)
        storage.write_text(path.with_suffix(".svg"), svg.alone(chart))
        storage.write_text(path.with_suffix(".csv"), charts.to_csv(chart))
    storage.write_text(context.run.report, page(material))
    storage.write_text(context.run.card, model_card(material))
    storage.write_text(context.run.checklist, checklist(material))
    return material


def _reopened(run: RunFolder) -> RunContext:
    """The run as `train` left it, without its images, which are decoded no more."""
    manifest = read_manifest(run)
    nothing = Decoded(manifest, np.empty((0, 0, 0, 3), np.uint8), (), (), ())
    return RunContext(run, load(str(run.recipe)), manifest, nothing, Console(quiet=True))


def _material(context: RunContext, study: Study) -> Material:
    histories, best = learning(context)
    made = Material(
        study,
        histories,
        best,
        json.loads(context.run.environment.read_text("utf-8")),
        context.run.recipe.read_text("utf-8"),
        len(json.loads(context.run.test_evaluations.read_text("utf-8"))),
        losses=losses(context),
    )
    paths = {sample.id: sample.path for sample in context.manifest.samples}
    pictures = cases.pictures(board.shown_cases(made), paths, context.recipe.image.window)
    wanted = {name: models for name, models in board.mapped_cases(made).items() if name in pictures}
    found = maps(context.run, wanted, paths)
    return replace(made, pictures={name: [*one, *found.get(name, ())] for name, one in pictures.items()})
