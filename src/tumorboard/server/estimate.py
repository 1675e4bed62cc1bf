"""Estimate how long a training may take, from a finished one of this workspace or from a measurement."""

import json
import math
from typing import Any

from tumorboard.run_folder import RunFolder
from tumorboard.server.jobs import Job, Jobs
from tumorboard.server.workspace import Workspace
from tumorboard.storage import modified, read_regular

_MAX_MANIFEST = 1 << 27  # bytes
_MAX_PHASES = 1 << 16
_SECONDS_PER_IMAGE, _MACHINE = 0.46, "two cores of an AMD EPYC"
"""Of the default recipe: 772 images took 352 s on this machine, without the decoding."""


def estimate(workspace: Workspace, jobs: Jobs, job: Job) -> dict[str, Any]:
    """Estimate the seconds per image of a training, and say from what; None and "" if nothing was measured.

    The newest finished training with the same recipe is what counts; folds are trainings of their own.
    """
    finished = [run for run in workspace.runs().values() if _measures(jobs, run, job)]
    newest = max(finished, key=lambda run: modified(run.report), default=None)
    seconds = _seconds_per_image(newest) if newest else None
    measured = ""
    if newest and seconds:
        measured = f"in proportion to {workspace.relative(newest.root)}, which was trained here"
    elif job.recipe == "default":
        seconds, measured = _SECONDS_PER_IMAGE, f"{_SECONDS_PER_IMAGE} s per image, as on {_MACHINE}"
    return {"seconds_per_image": seconds and seconds * (job.folds + 1), "measured": measured}


def _measures(jobs: Jobs, run: RunFolder, job: Job) -> bool:
    measured = jobs.read(run)
    finished = run.report.is_file() and run.phases.is_file() and run.manifest.is_file()
    if not finished or measured is None:
        return False
    return (measured.kind, measured.recipe, measured.folds) == ("train", job.recipe, 0)


def _seconds_per_image(run: RunFolder) -> float | None:
    """Return what the phases of a finished training took; None if its files do not say."""
    try:
        phases = json.loads(read_regular(run.phases, _MAX_PHASES))
        seconds = sum(float(value) for value in phases.values())
        images = read_regular(run.manifest, _MAX_MANIFEST).count(b"\n") - 1
        return seconds / images if 0 < seconds < math.inf and images > 0 else None
    except (OSError, AttributeError, TypeError, ValueError, OverflowError, RecursionError):
        return None
