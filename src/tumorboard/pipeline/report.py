"""The report of a finished run, from the files in its folder; networks are loaded for heat maps alone."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tumorboard import storage
from tumorboard.console import Console
from tumorboard.data.cache import Decoded
from tumorboard.errors import RunFolderError
from tumorboard.evaluation import trusting
from tumorboard.pipeline import calibrate, results
from tumorboard.pipeline.job import Job, samples
from tumorboard.pipeline.maps import maps
from tumorboard.recipe import load
from tumorboard.reporting import board, cases, charts, plots, svg
from tumorboard.reporting.card import model_card
from tumorboard.reporting.checklist import checklist
from tumorboard.reporting.material import Material
from tumorboard.reporting.page import page
from tumorboard.reporting.study import Study
from tumorboard.reporting.study_page import study_page
from tumorboard.runfolder import RunFolder


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
    material = write(_reopened(run))
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
    job = _reopened(run)
    if not run.calibration.is_file():
        valid = {name: job.predictions(name, "valid") for name in job.recipe.names}
        calibrate.write(run, {name: trusting.fit(one) for name, one in valid.items()})
    write(job, results.write(job))
    return run


def write(job: Job, study: Study | None = None) -> Material:
    """Write report.html, its charts as SVG and CSV, the model card and the checklist.

    Args:
        job: A run that has its results.
        study: What they were made of, if it is at hand: its numbers need not be computed again.
    """
    material = _material(job, results.read(job) if study is None else study.told_with(results.facts(job)))
    for name, chart in plots.everything(material).items():
        path = job.run.figure(name)
        storage.write_text(path.with_suffix(".svg"), svg.alone(chart))
        storage.write_text(path.with_suffix(".csv"), charts.to_csv(chart))
    storage.write_text(job.run.report, page(material))
    storage.write_text(job.run.card, model_card(material))
    storage.write_text(job.run.checklist, checklist(material))
    return material


def _reopened(run: RunFolder) -> Job:
    """The run as `train` left it, without its images, which are decoded no more."""
    manifest = samples(run)
    nothing = Decoded(manifest, np.empty((0, 0, 0, 3), np.uint8), (), (), ())
    return Job(run, load(str(run.recipe)), manifest, nothing, Console(quiet=True))


def _material(job: Job, study: Study) -> Material:
    histories, best = results.learning(job)
    made = Material(
        study,
        histories,
        best,
        json.loads(job.run.environment.read_text("utf-8")),
        job.run.recipe.read_text("utf-8"),
        len(json.loads(job.run.test_looks.read_text("utf-8"))),
        losses=results.losses(job),
    )
    paths = {sample.id: sample.path for sample in job.manifest.samples}
    pictures = cases.pictures(board.shown_cases(made), paths, job.recipe.image.window)
    wanted = {name: models for name, models in board.mapped_cases(made).items() if name in pictures}
    found = maps(job.run, wanted, paths)
    return replace(made, pictures={name: [*one, *found.get(name, ())] for name, one in pictures.items()})
