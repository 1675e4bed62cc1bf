"""A finished run folder of small models, made in a second; nothing is trained."""

import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from tests.small_models import CLASSES, IMAGE, NOTEBOOK, chained, joined, member, pixels
from tumorboard import run_folder, storage
from tumorboard.evaluation import out_of_distribution
from tumorboard.models import saving
from tumorboard.models.model_spec import embedding_model
from tumorboard.run_folder import RunFolder
from tumorboard.workflows.export import write_joint_graph

NAMES = ("pretrained", "custom", "ensemble", "chained")


@cache
def networks():
    """The four models by name, each with its spec."""
    pretrained, custom = member("pretrained"), member("custom", NOTEBOOK, seed=5)
    return {
        "pretrained": pretrained,
        "custom": custom,
        "ensemble": joined("ensemble", [pretrained, custom], "mean"),
        "chained": chained("chained", [pretrained], seed=7),
    }


@cache
def _template() -> Path:
    run = RunFolder(Path(mkdtemp()))
    for name, (model, spec) in networks().items():
        saving.save(model, spec, run.model(name))
    run_folder.write_checksums(run)
    metrics = {"recommendation": {"model": "custom"}, "models": {name: {} for name in NAMES}}
    storage.write_json(run.metrics, metrics)
    return run.root


@cache
def _template_with_joint_graph() -> Path:
    run = RunFolder(Path(mkdtemp()) / "run")
    shutil.copytree(_template(), run.root)
    write_joint_graph(run, networks(), "custom")
    return run.root


def finished(root: Path, *, joint_graph: bool = False) -> RunFolder:
    """A run folder of the four models, with custom recommended and without a calibration."""
    shutil.copytree(_template_with_joint_graph() if joint_graph else _template(), root)
    return RunFolder(root)


def calibrate(run: RunFolder, name: str, **changes: object) -> None:
    """Write a calibration of one model; what it takes for training images are `pixels(20)`."""
    vectors = embedding_model(networks()[name][0]).predict(pixels(20), verbose=0)
    known = out_of_distribution.fit(vectors, np.arange(20) % len(CLASSES))
    storage.write_bytes(run.out_of_distribution(name), known.to_bytes())
    facts = {
        "temperature": 2.0,
        "conformal": {"alpha": 0.1, "quantile": 0.7, "n": 20},
        "refer_below": 0.4,
        "out_of_distribution": {"threshold": float(known.score(vectors).max()) * 1.01},
    }
    storage.write_json(run.calibration, {"format": 1, "models": {name: facts | changes}})
    run_folder.write_checksums(run)


__all__ = ["CLASSES", "IMAGE", "NAMES", "calibrate", "finished", "networks", "pixels"]
