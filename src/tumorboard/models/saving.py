"""Saving and loading of models; no other module reads a model file.

Run as a module, it loads the model of its argument in a process of limited memory and time.
"""

import json
import sys
from pathlib import Path

import keras

from tumorboard import run_folder, storage
from tumorboard.errors import ModelError, RunFolderError, TumorboardError
from tumorboard.models import safe_loading
from tumorboard.models.model_spec import LoadedModel, ModelSpec, check
from tumorboard.run_folder import RunFolder


def save(model: keras.Model, spec: ModelSpec, path: Path) -> None:
    """Write `<name>.keras`, uncompiled so that Keras alone can load it, and `<name>.json`, its specification.

    The specification holds the model file's hash and is written last: a model without it is unfinished.

    Raises:
        ModelError: The model does not match its specification.
        StorageError: The disk is full.
    """
    check(model, spec)
    plain = keras.Model(model.input, model.output, name=model.name)
    with storage.replacing(path) as temporary:
        plain.save(temporary)
    storage.write_json(spec_path(path), {**spec.to_json(), "sha256": storage.sha256(path)})


def load(path: Path) -> LoadedModel:
    """Load a model: compare its hash, inspect the file, and only then read it with Keras in safe mode.

    Raises:
        ModelError: The file or its specification is missing, the hash differs, or Tumorboard did not save it.
    """
    spec = read_spec(path)
    safe_loading.inspect(path)
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except TumorboardError:  # a signal that arrived while Keras was at work
        raise
    except Exception as error:  # Keras raises whatever its many layers raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise safe_loading.load_error(path, reason) from error
    check(model, spec)
    last = model.get_layer(f"{model.name}_probabilities")
    if isinstance(last, keras.layers.Dense) and last.activation is not keras.activations.softmax:
        raise ModelError(
            f"model {model.name!r} does not match its specification: its last layer has the activation "
            f"{last.activation.__name__!r}, expected 'softmax'"
        )
    return model, spec


def load_untrusted(path: str | Path) -> LoadedModel:
    """Load a model that may come from a stranger.

    A file that SHA256SUMS of its run folder lists is loaded directly; any other is first loaded in a child
    process of limited memory and time, so that a model that crashes Keras does not crash this process.

    Raises:
        ModelError: As for `load`.
    """
    path = Path(path)
    try:
        hashes = run_folder.read_checksums(RunFolder(path.absolute().parent.parent))
    except RunFolderError:
        hashes = {}
    if path.name in hashes:
        run_folder.verify(path, hashes)
        run_folder.verify(spec_path(path), hashes)
    else:
        read_spec(path)
        safe_loading.inspect(path)
        safe_loading.load_in_child(path)
    return load(path)


def read_spec(path: Path) -> ModelSpec:
    """Read the specification beside a model file and compare the file's hash with the one in it.

    Raises:
        ModelError: The file or its specification is missing or damaged, or the hash differs.
    """
    run_folder.require_model_file(path)
    try:
        content = json.loads(spec_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"expected the model's specification at {spec_path(path)}, found none that can be read; "
            "models that `tumorboard train` or `combine` saved have it beside them"
        ) from error
    try:
        recorded, spec = content["sha256"], ModelSpec.from_json(dict(content))
        # Another input or output would mean other preprocessing, and so wrong predictions.
        for key in ("format_version", "input", "output"):
            if content[key] != spec.to_json()[key]:
                raise ValueError(f"{key} is {content[key]}")
        if len(set(spec.class_names)) != len(spec.class_names) or len(spec.class_names) < 2:
            raise ValueError("class_names are not two or more distinct names")
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
    """Return whether a finished, undamaged model is there."""
    try:
        read_spec(path)
    except ModelError:
        return False
    return True


def spec_path(path: Path) -> Path:
    """Return the path of the specification of a model file."""
    return path.with_suffix(".json")


def main(path: Path) -> int:
    """Load the model under limits in the child process; an error is written to standard output."""
    sys.stdout.write(safe_loading.STARTED)
    sys.stdout.flush()
    safe_loading.limit_memory_and_time()
    try:
        load(path)
    except TumorboardError as error:
        sys.stdout.write(str(error))
        return safe_loading.REFUSED
    return safe_loading.LOADED


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
