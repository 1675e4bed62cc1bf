"""Saving and loading models: the only place that reads a model file."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from tumorboard import run_folder, storage
from tumorboard.errors import ModelError, RunFolderError, TumorboardError
from tumorboard.models import safe_loading
from tumorboard.models.model_spec import ModelSpec, check
from tumorboard.models.safe_loading import inspect, unfit
from tumorboard.run_folder import RunFolder


def save(model: keras.Model, spec: ModelSpec, path: Path) -> None:
    """Write `<name>.keras`, uncompiled so that anyone can load it, and then its spec as `<name>.json`.

    The spec holds the model file's hash and is written last: a model without it is not finished.

    Raises:
        ModelError: The model does not keep the spec.
        StorageError: The disk is full.
    """
    check(model, spec)
    plain = keras.Model(model.input, model.output, name=model.name)
    with storage.replacing(path) as temporary:
        plain.save(temporary)
    storage.write_json(spec_path(path), {**spec.to_json(), "sha256": storage.sha256(path)})


def load(path: Path) -> tuple[keras.Model, ModelSpec]:
    """Read a model that this machine trained: hash first, then what is in the file, then Keras's safe mode.

    Raises:
        ModelError: No such file, no spec beside it, another hash, or no model of ours.
    """
    spec = read_spec(path)
    inspect(path)
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except TumorboardError:  # a signal, noted while Keras was at work
        raise
    except Exception as error:  # Keras raises whatever its many layers raise
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise unfit(path, first) from error
    check(model, spec)
    _check_answer(model)
    return model, spec


def load_untrusted(path: str | Path) -> tuple[keras.Model, ModelSpec]:
    """Read a model that a user names, which may be a stranger's.

    A file that its run folder's SHA256SUMS lists is loaded as it is; any other first in a process of its own,
    of limited memory and time, so that what brings Keras down does not bring us down.

    Raises:
        ModelError: As `load`.
    """
    path = Path(path)
    if not _is_listed(path):
        read_spec(path)
        inspect(path)
        safe_loading.load(path)
    return load(path)


def _is_listed(path: Path) -> bool:
    try:
        hashes = run_folder.read_checksums(RunFolder(path.absolute().parent.parent))
    except RunFolderError:
        return False
    if path.name not in hashes:
        return False
    run_folder.verify(path, hashes)
    run_folder.verify(spec_path(path), hashes)
    return True


def _check_answer(model: keras.Model) -> None:
    """A classifier's scores are no probabilities."""
    last = model.get_layer(f"{model.name}_probabilities")
    if isinstance(last, keras.layers.Dense) and last.activation is not keras.activations.softmax:
        raise ModelError(
            f"model {model.name!r} does not match its specification: its last layer has the activation "
            f"{last.activation.__name__!r}, expected 'softmax'"
        )


def read_spec(path: Path) -> ModelSpec:
    """The spec beside a model file, after checking that the file is the one that was saved.

    Raises:
        ModelError: The file or its spec is missing or damaged, or the hash differs.
    """
    if path.suffix != ".keras":  # other formats can run code when they are loaded, safe mode or not
        raise ModelError(f"expected a .keras file, found {path}; no other format is read")
    if not path.is_file():
        raise ModelError(f"expected a model at {path}, found no file there")
    content = _read_json(spec_path(path))
    try:
        recorded, spec = content["sha256"], ModelSpec.from_json(dict(content))
        _check_promises(content, spec)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:80]
        raise ModelError(
            f"{spec_path(path)} is not a model specification ({reason}); "
            "restore the file, or save the model again"
        ) from error
    if storage.sha256(path) != recorded:
        raise ModelError(
            f"{path} is not the file that was saved: its SHA-256 is not the one in {spec_path(path).name}; "
            "restore it or train again"
        )
    return spec


def is_saved(path: Path) -> bool:
    """Whether a finished, undamaged model lies there."""
    try:
        read_spec(path)
    except ModelError:
        return False
    return True


def spec_path(path: Path) -> Path:
    """Where the spec of a model file lies."""
    return path.with_suffix(".json")


def _check_promises(content: Mapping[str, Any], spec: ModelSpec) -> None:
    """What all contracts of this version say alike; with another preprocessing answers would be wrong."""
    expected = spec.to_json()
    for field in ("format_version", "input", "output"):
        if content[field] != expected[field]:
            raise ValueError(f"{field} is {content[field]}")
    if len(set(spec.class_names)) != len(spec.class_names) or len(spec.class_names) < 2:
        raise ValueError("class_names are not two different ones or more")


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"expected the model's spec at {path}, found none that can be read; "
            "models that `tumorboard train` or `combine` saved have it beside them"
        ) from error
    return content if isinstance(content, dict) else {}


def main(path: Path) -> int:
    """Load the model under limits; what it raises goes to standard output."""
    sys.stdout.write(safe_loading.STARTED)
    sys.stdout.flush()
    safe_loading.limit_memory_and_time()
    try:
        load(path)
    except TumorboardError as error:
        sys.stdout.write(str(error))
        return safe_loading.REFUSED
    return safe_loading.ENDED_WELL


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
