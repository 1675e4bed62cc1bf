"""Compare a run folder with the data, settings and versions that it was begun with; needs no Keras."""

import contextlib
import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tumorboard import backend, config, storage
from tumorboard.config import Recipe, dump
from tumorboard.data.class_folders import SPLITS
from tumorboard.data.image_reader import split_address
from tumorboard.data.manifest import DataSource, Manifest, load
from tumorboard.errors import ModelError, RunFolderError, display
from tumorboard.run_folder import RunFolder, locked, read_checksums, read_json, verify

Fingerprint = dict[str, dict[str, Any]]
"""The sections settings, environment and files."""

_SHOWN = 20  # differences listed; more mean other data altogether
_PACKAGES = (
    *("tumorboard", "keras", "numpy", "pillow"),
    *("pydicom", "pylibjpeg-openjpeg", "pyjpegls", "python-gdcm"),  # decoders of compressed DICOM
)
_BACKEND_PACKAGES = {
    "tensorflow": ("tensorflow-cpu", "tensorflow"),
    "jax": ("jax", "jaxlib"),
    "torch": ("torch",),
}

_NIFTI = (".nii", ".nii.gz")
_BALANCE = ".training.balance"


def take(recipe: Recipe, manifest: Manifest) -> Fingerprint:
    """Collect everything that the bits of a result depend on, by section and key."""
    environment: dict[str, Any] = {"backend": backend.name()}
    nifti = any(split_address(s.path)[0].name.lower().endswith(_NIFTI) for s in manifest.samples)
    used = _BACKEND_PACKAGES.get(backend.name(), ())  # another installed backend computes nothing
    for package in (*_PACKAGES, *used, *(["nibabel"] if nifti else [])):
        with contextlib.suppress(PackageNotFoundError):
            environment[package] = version(package)
    environment["threads"] = threads(recipe)
    environment["onednn"] = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "")  # other kernels, other bits
    settings = _flat(recipe.model_dump(mode="json"))
    if recipe.image.depth == "auto":
        del settings["image.depth"]  # no image has one; runs from before this setting go on
    if recipe.image.frames == "refuse":
        del settings["image.frames"]  # likewise
    settings = {
        name: value for name, value in settings.items() if not (name.endswith(_BALANCE) and value == "image")
    }
    return {
        "settings": settings,
        "environment": environment,
        "files": {s.id: [s.split, s.label, s.group, s.sha256] for s in manifest.samples},
    }


def require_same(run: RunFolder, now: Fingerprint) -> None:
    """Refuse to continue in a folder that was begun with other data, settings or versions.

    Raises:
        RunFolderError: Names the differences; or the folder holds models but no readable fingerprint.
    """
    if not run.fingerprint.is_file() and not run.model("any").parent.exists():
        return
    try:
        before = json.loads(run.fingerprint.read_text(encoding="utf-8"))
        changes = [change for name in now for change in _differences(name, before.get(name, {}), now[name])]
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise RunFolderError(
            f"expected the fingerprint of the run in {display(run.fingerprint)}, found "
            "nothing readable; restore the file or choose another --out"
        ) from error
    if changes:
        raise RunFolderError(
            f"{display(run.root)} was begun with other data or settings ({changes[0][-85:]}"
            f"{f' and {len(changes) - 1} more' if len(changes) > 1 else ''}); choose another --out, "
            "or repeat the command as it was",
            [*changes[:_SHOWN], *([f"and {len(changes) - _SHOWN} more"] if len(changes) > _SHOWN else [])],
        )


def require_begun_with(run: RunFolder, source: DataSource, recipe: Recipe) -> None:
    """Refuse a folder with a fingerprint that was begun with other data, settings or versions.

    Raises:
        DataError: The data cannot be used.
        RunFolderError: Names the differences.
    """
    if recipe.image.depth == "auto":  # decided by the images, and so by their hashes, which are compared
        depth = config.load(str(run.recipe)).image.depth
        recipe = recipe.model_copy(update={"image": recipe.image.model_copy(update={"depth": depth})})
    require_same(run, take(recipe, load(source, frames=recipe.image.frames).manifest))


def is_finished(run: RunFolder, source: DataSource, recipe: Recipe) -> bool:
    """Return whether the folder holds a complete run of these data and settings, with undamaged models.

    Raises:
        DataError: The data cannot be used.
        RunFolderError: A complete run of other data or settings, or the folder is in use.
    """
    files = [run.audit, run.leak_meter, run.calibration, run.metrics, run.results, run.report, run.summary]
    files += [run.card, run.checklist, run.checksums, run.fingerprint, run.manifest, run.recipe]
    files += [run.predictions(name, split) for name in recipe.names for split in SPLITS]
    if os.path.exists(run.cache) or not all(map(os.path.isfile, files)):  # no error at a name that cannot be
        return False
    hashes = read_checksums(run)
    with locked(run):
        require_begun_with(run, source, recipe)
        try:
            for name in hashes:
                verify(run.checksums.with_name("models") / name, hashes)
        except ModelError:
            return False
    return all(
        run.model(name).name in hashes and run.model_spec(name).name in hashes for name in recipe.names
    )


def _differences(section: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    noun = {"files": "file ", "settings": "setting ", "environment": ""}[section]
    lines = [f"{noun}{name} added" for name in now if name not in before]
    lines += [f"{noun}{name} removed" for name in before if name not in now]
    for name in before.keys() & now.keys():
        old, new = before[name], now[name]
        if old == new:
            continue
        change = f" from {old} to {new}"
        if section == "files":
            columns = zip(("split", "class", "group", "content"), old, new, strict=True)
            change = f" ({', '.join(column for column, a, b in columns if a != b)})"
        lines.append(f"{noun}{name} changed{change}")
    return sorted(lines)


def record(run: RunFolder, source: DataSource, recipe: Recipe, now: Fingerprint) -> None:
    """Write the recipe, the environment with the command, and the fingerprint last."""
    storage.write_text(run.recipe, dump(recipe))
    storage.write_json(
        run.environment,
        {
            **now["environment"],
            **{name: value for name, value in backend.SETTINGS.items() if value is not None},
            "command": _command(run, source),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "machine": platform.machine(),
        },
    )
    storage.write_json(run.fingerprint, now)


def record_device(run: RunFolder) -> None:
    """Add what networks are computed on to the environment, now that Keras is loaded."""
    storage.write_json(run.environment, {**read_json(run.environment), "device": backend.device()})


def _command(run: RunFolder, source: DataSource) -> str:
    """Return the command that made the run, or for a run made from Python the call that repeats it."""
    program = Path(sys.argv[0])
    if program.stem == "tumorboard" or program.parts[-2:] == ("tumorboard", "__main__.py"):
        return shlex.join(["tumorboard", *sys.argv[1:]])
    options = ((option.name, getattr(source, option.name)) for option in fields(source)[1:])
    given = "".join(f", {name}={value!r}" for name, value in options if value)
    data = repr(str(source.path))
    data = f"tumorboard.DataSource({data}{given})" if given else data
    return f"tumorboard.train({data}, {str(run.root)!r}, {str(run.recipe)!r})"


def threads(recipe: Recipe) -> int:
    """Return the number of threads that the recipe asks for; for 0, all that this process may use."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return recipe.threads or len(usable)


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, dict):
            rows |= _flat(value, f"{prefix}{name}.")
        else:
            rows[prefix + name] = value
    return rows
