"""Whether a run folder was begun with this data, these settings and these versions; needs no Keras."""

import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tumorboard import storage
from tumorboard.config import Recipe, dump
from tumorboard.data.manifest import Manifest
from tumorboard.errors import RunFolderError
from tumorboard.run_folder import RunFolder

Fingerprint = dict[str, dict[str, Any]]

_SHOWN = 20  # differences listed; more are other data altogether
_PACKAGES = (
    *("tumorboard", "keras", "tensorflow-cpu", "tensorflow", "jax", "torch", "numpy", "pillow"),
    *("pydicom", "pylibjpeg-openjpeg", "pyjpegls", "python-gdcm"),  # decoders of compressed DICOM
)


def take(recipe: Recipe, manifest: Manifest) -> Fingerprint:
    """Everything that the bits of a result depend on, by section and key."""
    return {
        "settings": _flat(recipe.model_dump(mode="json")),
        "environment": _environment(recipe),
        "files": {s.id: [s.split, s.label, s.group, s.sha256] for s in manifest.samples},
    }


def require_same(run: RunFolder, now: Fingerprint) -> None:
    """Refuse to go on in a folder that was begun otherwise.

    Raises:
        RunFolderError: Names the differences; or models lie there and nothing says what they were made of.
    """
    if not run.fingerprint.is_file() and not run.model("any").parent.exists():
        return
    before = _begun_with(run)
    found = [line for section in now for line in _differences(section, before.get(section, {}), now[section])]
    if found:
        raise RunFolderError(
            f"{storage.shown(run.root)} was begun with other data or settings ({found[0][-100:]}"
            f"{f' and {len(found) - 1} more' if len(found) > 1 else ''}); choose another --out, "
            "or repeat the command as it was",
            [*found[:_SHOWN], *([f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else [])],
        )


def _begun_with(run: RunFolder) -> Fingerprint:
    try:
        found = json.loads(run.fingerprint.read_text(encoding="utf-8"))
        if isinstance(found, dict) and all(isinstance(section, dict) for section in found.values()):
            return found
    except (OSError, ValueError):
        pass
    raise RunFolderError(
        f"expected what the run was begun with in {storage.shown(run.fingerprint)}, found nothing readable; "
        "restore the file or choose another --out"
    )


def record(run: RunFolder, recipe: Recipe, now: Fingerprint) -> None:
    """Write the plan: the recipe, the environment with the command, and the fingerprint last."""
    storage.write_text(run.recipe, dump(recipe))
    storage.write_json(
        run.environment,
        {
            **now["environment"],
            "command": shlex.join(["tumorboard", *sys.argv[1:]]),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "machine": platform.machine(),
        },
    )
    storage.write_json(run.fingerprint, now)


def threads(recipe: Recipe) -> int:
    """The number of threads that the recipe asks for; 0 means all that this process may use."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return recipe.threads or len(usable)


def _environment(recipe: Recipe) -> dict[str, Any]:
    found: dict[str, Any] = {"backend": os.environ.get("KERAS_BACKEND", "tensorflow")}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "")  # other kernels, other bits
    return {**found, "threads": threads(recipe), "onednn": onednn}


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, dict):
            rows |= _flat(value, f"{prefix}{name}.")
        else:
            rows[prefix + name] = value
    return rows


def _differences(section: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    noun = {"files": "file ", "settings": "setting ", "environment": ""}[section]
    lines = [f"{noun}{name} added" for name in now if name not in before]
    lines += [f"{noun}{name} removed" for name in before if name not in now]
    for name in before.keys() & now.keys():
        if before[name] != now[name]:
            lines.append(f"{noun}{name} changed" + _values(section, before[name], now[name]))
    return sorted(lines)


def _values(section: str, before: Any, now: Any) -> str:
    if section != "files":
        return f" from {before} to {now}"
    names = ("split", "class", "group", "content")
    return f" ({', '.join(name for name, a, b in zip(names, before, now, strict=True) if a != b)})"
