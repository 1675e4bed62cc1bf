"""An export on disk: the file, and beside it `<file>.json` with what it expects, its hashes and its check."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from tumorboard import storage
from tumorboard.errors import ModelError, UsageError
from tumorboard.exporting.formats import find
from tumorboard.exporting.inference import inference_graph
from tumorboard.exporting.runtimes import Engine, open_engine
from tumorboard.models.contract import Contract
from tumorboard.models.predicting import probabilities

LIMIT = 1e-4
"""The largest difference of a probability from Keras that is let through."""

_STAGING = ".exporting-"


@dataclass(frozen=True)
class Check:
    """How an exported file compared with Keras.

    Attributes:
        images: How many were compared.
        real: Whether they are the run's own; random ones otherwise.
        difference: The largest of a probability.
    """

    images: int
    real: bool
    difference: float


def write(
    model: keras.Model,
    contract: Contract,
    sha256: str,
    name: str,
    path: Path,
    images: npt.NDArray[np.uint8],
    real: bool,
) -> Check:
    """Write a model in the format `name`, open it again, compare it with Keras, and only then keep it.

    Args:
        model: As the run holds it.
        contract: Of the model.
        sha256: Of the model's own file.
        name: Of the format.
        path: Of the new file, or folder.
        images: To compare on, uint8 (N, S, S, 3).
        real: Whether they are images of the run.

    Raises:
        UsageError: An unknown format, or its packages are missing, or `path` will not do.
        ModelError: The file answers otherwise than Keras by more than `LIMIT`; nothing is left then.
        StorageError: The disk.
    """
    made = find(name)
    _check_name(path, made.suffix, name)
    facts = {**contract.to_json(), "format": name, "model_sha256": sha256}
    with _staging(path) as folder:
        made.write(inference_graph(model), folder / path.name, facts)
        check = _compare(model, open_engine(name, folder / path.name, *_sizes(contract)), images, real)
        _require_equal(check, name)
        told = {"images": check.images, "real": check.real, "largest_difference": check.difference}
        hashes = {one: storage.sha256(folder / one) for one in _files(folder)}
        storage.write_json(sidecar(folder / path.name), {**facts, "compared": told, "sha256": hashes})
    return check


def is_export(path: Path, name: str, sha256: str) -> bool:
    """Whether an undamaged export, of this format and of the model of this hash, lies there."""
    try:
        facts = json.loads(sidecar(path).read_text(encoding="utf-8"))
        return bool(
            (facts["format"], facts["model_sha256"]) == (name, sha256)
            and facts["sha256"]
            and all(storage.sha256(path.parent / one) == digest for one, digest in facts["sha256"].items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def reopen(path: Path, name: str, contract: Contract) -> Engine:
    """An export in its runtime; raises ModelError where that cannot read it."""
    return open_engine(name, path, *_sizes(contract))


def sidecar(path: Path) -> Path:
    """Where the facts about an export lie."""
    return path.with_name(f"{path.name}.json")


def _sizes(contract: Contract) -> tuple[int, int]:
    return contract.image.size, len(contract.class_names)


def _compare(model: keras.Model, engine: Engine, images: npt.NDArray[np.uint8], real: bool) -> Check:
    expected, found = probabilities(model, images), probabilities(engine, images)
    return Check(len(images), real, float(np.abs(expected - found).max()))


def _require_equal(check: Check, name: str) -> None:
    if not check.difference <= LIMIT:  # NaN too
        raise ModelError(
            f"the {name} file answers otherwise than Keras by {check.difference:.1e} on {check.images} "
            f"images, expected at most {LIMIT:.0e}; nothing was kept. Choose another format"
        )


def _check_name(path: Path, suffix: str, name: str) -> None:
    if path.suffix != suffix:
        wanted = f"to end in {suffix}" if suffix else "to be a folder's name without a suffix"
        raise UsageError(f"expected --out {wanted} for {name}, found {path.name[-60:]!r}")
    if path.is_dir():
        raise UsageError(f"expected a new --out, found a folder: {storage.shown(path)}; delete it first")


@contextmanager
def _staging(path: Path) -> Iterator[Path]:
    """A folder beside `path`; what is in it at the end gets its name there, what describes it last."""
    folder = path.with_name(f"{_STAGING}{path.name}")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        yield folder
        for one in sorted(folder.iterdir(), key=lambda one: one.suffix == ".json"):
            one.replace(path.with_name(one.name))
    except OSError as error:
        raise storage.storage_error(path, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _files(folder: Path) -> Sequence[str]:
    return sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file())
