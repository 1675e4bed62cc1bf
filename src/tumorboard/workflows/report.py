"""The report of a finished run: gather its results from the run folder, compose documents, write them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tumorboard import config, storage, text_files
from tumorboard.data import synthetic
from tumorboard.data.class_folders import SPLITS
from tumorboard.data.image_cache import Decoded
from tumorboard.data.image_reader import read_image, split_address, to_input
from tumorboard.data.manifest import FOUND_GROUP
from tumorboard.errors import TumorboardError, plural
from tumorboard.evaluation.selective_prediction import fit_calibration
from tumorboard.progress import Console
from tumorboard.reports import markdown, output
from tumorboard.reports.checklist import checklist
from tumorboard.reports.document import CaptionedImage
from tumorboard.reports.example_images import example_ids, jpeg, small_copy, thumbnails
from tumorboard.reports.run_report import model_card, model_card_metadata, run_report, run_summary
from tumorboard.reports.run_results import Provenance, RunResults, metrics_json, score_run
from tumorboard.run_folder import RunFolder, read_json, reading
from tumorboard.workflows import calibrate, fold_results
from tumorboard.workflows.audit import audit_findings, read_leaks, subsets_without_shortcuts
from tumorboard.workflows.run_context import (
    RunContext,
    read_manifest,
    read_seconds,
    require_finished,
    test_evaluations,
)

if TYPE_CHECKING:
    from tumorboard.explain.gradcam import Map
    from tumorboard.workflows.predictor import RunPredictor

_FLAT = 0.5  # of the largest value
_SECONDS = 60.0  # a slow machine gets the first maps, not a long wait


def read_results(context: RunContext) -> RunResults:
    """Score the predictions in the run folder.

    Raises:
        DataError: A file of predictions is missing or damaged.
    """
    names = context.recipe.names
    return score_run(
        {name: {split: context.predictions(name, split) for split in SPLITS} for name in names},
        read_provenance(context),
        subsets=subsets_without_shortcuts(context.run, context.manifest),
        groups=context.manifest.groups,
        calibrations=calibrate.read(context.run),
        findings=audit_findings(context.run),
        leaks=read_leaks(context.run),
        patient_rules=calibrate.read_patient_rules(context.run),
    )


def add_images(
    context: RunContext, results: RunResults, predictor: "RunPredictor | None" = None
) -> RunResults:
    """Add small copies of the example images and their heat maps to the results of a run.

    Args:
        context: The run.
        results: Its scores.
        predictor: All models of the run, if they are in memory; by default those for heat maps are loaded.
    """
    paths = {sample.id: sample.path for sample in context.manifest.samples}
    wanted = example_ids(results)
    images = thumbnails(list(wanted), paths, context.recipe.image)
    maps, missing = heat_maps(context.run, wanted, paths, predictor)
    images = {image_id: [*copies, *maps.get(image_id, ())] for image_id, copies in images.items()}
    return replace(results, thumbnails=images, missing_maps=missing)


def write_charts(context: RunContext, results: RunResults) -> None:
    """Write the charts of the report: before the report, which says how long they took.

    Raises:
        StorageError: The disk is full or not writable.
    """
    output.write_charts(run_report(results), context.run)


def write_results(context: RunContext, results: RunResults) -> None:
    """Write metrics.json, the report, the model card and the checklist.

    Raises:
        StorageError: The disk is full or not writable.
    """
    run, results = context.run, replace(results, provenance=read_provenance(context))  # with all seconds
    storage.write_text(run.metrics, metrics_json(results))
    output.write_pages(run_report(results), run, run_summary(results))
    storage.write_text(run.card, model_card_metadata(results) + markdown.render(model_card(results)))
    storage.write_text(run.checklist, markdown.render(checklist(results)))


def report(root: str | Path) -> Path:
    """Write all results of a finished run or cross-validation anew from its predictions.

    Args:
        root: Its folder.

    Returns:
        The path of report.html.

    Raises:
        RunFolderError: No finished run.
        DataError: A file of it is damaged.
        StorageError: The report cannot be written.
    """
    run = RunFolder(Path(root))
    require_finished(run)
    if not run.manifest.is_file():
        fold_results.rewrite_results(run)
        return run.report
    manifest = read_manifest(run)
    no_images = Decoded(manifest, np.empty((0, 0, 0, 3), np.uint8), (), (), ())
    context = RunContext(run, config.load(str(run.recipe)), manifest, no_images, Console(quiet=True))
    valid = {name: context.predictions(name, "valid") for name in context.recipe.names}
    if not run.calibration.is_file():
        calibrate.write(run, {name: fit_calibration(each, manifest.groups) for name, each in valid.items()})
    if not run.patients.is_file():
        calibrate.write_patient_rules(run, valid, calibrate.read(run), manifest.groups)
    results = add_images(context, read_results(context))
    write_charts(context, results)
    write_results(context, results)
    return run.report


def read_provenance(context: RunContext) -> Provenance:
    """Return how the run was made so far, from its own records."""
    run, names, samples = context.run, context.recipe.names, context.manifest.samples
    details: dict[str, Any] = {}
    for name in names:
        content = read_json(run.model_spec(name))
        with reading(run.model_spec(name)):
            details[name] = content["details"]
    histories: dict[str, list[dict[str, float]]] = {}
    for name in names:
        file = run.history(name)
        if file.is_file():
            with reading(file):
                header, *rows = text_files.rows(text_files.read_text(file), str(file))
                epochs = [dict(zip(header.cells, map(float, row.cells), strict=True)) for row in rows]
            histories |= {name: epochs} if epochs else {}
    smoothing = {name: context.recipe.training(name).label_smoothing for name in names}
    return Provenance(
        recipe=context.recipe.name,
        seed=context.recipe.seed,
        settings=run.recipe.read_text("utf-8"),
        environment=read_json(run.environment),
        test_scorings=len(test_evaluations(run)),
        models=tuple(_model_line(name, details[name]) for name in names),
        histories=histories,
        best_epochs={name: int(details[name]["best_epoch"]) for name in histories},
        loss_titles={
            name: f"loss, labels smoothed by {amount:g}" for name, amount in smoothing.items() if amount
        },
        groups_known=all(sample.group for sample in samples),
        images_with_group=sum(bool(sample.group) for sample in samples),
        groups_found=any(sample.group.startswith(FOUND_GROUP) for sample in samples),
        synthetic=synthetic.is_synthetic(sample.id for sample in samples),
        seconds=read_seconds(run),
    )


def _model_line(name: str, details: Mapping[str, Any]) -> str:
    """Describe in a line how training ended, or what an ensemble or a chain is made of."""
    parts = []
    if "epochs" in details:
        parts.append(f"{details['epochs']} epochs, weights of epoch {details['best_epoch']}")
    if "members" in details:
        weights = [f" {weight:.2f}" for weight in details["weights"]] or [""] * len(details["members"])
        members = ", ".join(f"{m}{w}" for m, w in zip(details["members"], weights, strict=True))
        parts.append(f"form {details['form']} of {members}")
    if "first" in details:
        links = [details["first"], *details.get("others", [])]
        parts.append(f"{'links' if links[1:] else 'first link'} {' and '.join(links)}, {details['start']}")
    return f"{name}: {'; '.join(parts)}"


def heat_maps(
    run: RunFolder,
    wanted: Mapping[str, Sequence[str]],
    paths: Mapping[str, Path],
    predictor: "RunPredictor | None" = None,
) -> tuple[dict[str, list[CaptionedImage]], str]:
    """Compute Grad-CAM maps of the classes that models of a run predict.

    Args:
        run: A finished run.
        wanted: By image id the names of the models whose maps are wanted.
        paths: Where the files are, or were.
        predictor: These models, if they are in memory; loaded by default.

    Returns:
        Maps by image id, and why some or all are missing, "" if none is.
    """
    maps: dict[str, list[CaptionedImage]] = {}
    wanted = {image_id: models for image_id, models in wanted.items() if models}
    if not any(split_address(paths[image_id])[0].is_file() for image_id in wanted):
        return maps, "the images are no longer where they were" if wanted else ""
    try:
        from tumorboard.explain.overlay import in_picture, overlay  # Keras, seconds to import
        from tumorboard.workflows.predictor import KERAS, load_run

        predictor = predictor or load_run(
            run.root, sorted({name for names in wanted.values() for name in names}), engine=KERAS
        )
    except TumorboardError as error:  # no backend, or models that were moved away or changed
        return maps, str(error).replace(str(run.root), run.root.name)  # a report is moved and shared
    end, unread, late = time.monotonic() + _SECONDS, 0, 0
    for image_id, models in wanted.items():
        try:
            image = read_image(paths[image_id], predictor.image).pixels
        except TumorboardError:
            unread += 1
            continue
        pixels, picture = to_input(image, predictor.image), small_copy(image)
        for name in models:
            if time.monotonic() > end:
                late += 1
                continue
            heat = predictor.heat_map(name, pixels)
            covered = overlay(picture, in_picture(heat, picture.shape[:2], predictor.image))
            maps.setdefault(image_id, []).append(CaptionedImage(_caption(name, heat), jpeg(covered), name))
    reasons = [f"{plural(unread, 'image')} can no longer be read"] if unread else []
    reasons += [f"{plural(late, 'map')} would have taken longer than {_SECONDS:.0f} s"] if late else []
    return maps, " and ".join(reasons)


def _caption(name: str, heat: "Map") -> str:
    """A map without a dark region, or without a bright one, must not be read as a finding."""
    flat = float(heat.min()) > _FLAT or float(heat.max()) == 0.0
    return f"map of {name}" + (": no region stands out" if flat else "")
