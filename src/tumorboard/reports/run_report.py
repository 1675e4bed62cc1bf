"""The report of a run: its sections in order, and how it was made."""

import numpy as np

from tumorboard import NOTICE
from tumorboard.reports.agreement import differences, error_agreement
from tumorboard.reports.document import Block, BulletList, Cell, Code, Document, Section, Table
from tumorboard.reports.example_images import example_images
from tumorboard.reports.overview import audit_findings, overview
from tumorboard.reports.performance import confusion_matrices, learning_curves, performance, ranking_curves
from tumorboard.reports.run_results import SPLIT_TITLES, SPLITS, SYNTHETIC, RunResults
from tumorboard.reports.uncertainty import calibration, selective_prediction


def run_report(results: RunResults) -> Document:
    """Compose everything that there is to read about a run."""
    return Document(
        f"{len(results.class_names)} classes, {len(results.predictions)} models, "
        f"recipe {results.provenance.recipe}",
        notices(results),
        [
            overview(results),
            performance(results),
            differences(results.comparisons["test"]),
            learning_curves(results),
            confusion_matrices(results),
            ranking_curves(results),
            calibration(results),
            selective_prediction(results),
            error_agreement(results),
            example_images(results),
            audit_findings(results),
            provenance(results),
        ],
    )


def notices(results: RunResults) -> list[str]:
    """Return what stands above every report of a run."""
    return [NOTICE, *([SYNTHETIC] if results.provenance.synthetic else [])]


def provenance(results: RunResults) -> Section:
    """Data, settings, versions, times, and the command that repeats the run."""
    made, names = results.provenance, results.class_names
    rows: list[list[Cell]] = []
    for split in SPLITS:
        counts = np.bincount(results.reference[split].labels, minlength=len(names)).tolist()
        rows.append([SPLIT_TITLES[split], *counts, sum(counts)])
    versions = ", ".join(f"{name} {version}" for name, version in made.versions.items())
    blocks: list[Block] = [
        Table(["images", *names, "all"], rows, "Images per split and class"),
        BulletList(
            [
                f"Recipe: {made.recipe}",
                f"Seed: {made.seed}",
                f"Backend: {made.environment['backend']}",
                *([f"Versions: {versions}"] if versions else []),
                *made.models,
            ]
        ),
    ]
    if made.seconds:
        times = [[phase, f"{seconds:.1f}"] for phase, seconds in made.seconds.items()]
        blocks.append(Table(["phase", "seconds"], times, "Time per phase"))
    others = [f"{name}: {value}" for name, value in made.environment.items()]
    blocks += [
        Section("To repeat the run", [Code(str(made.environment["command"]))]),
        Section("All settings", [Code(made.settings)], folded=True),
        Section("Environment", [BulletList(others)], folded=True),
    ]
    return Section("How the run was made", blocks, "provenance")
