"""One model of several saved ones, which need not come from the same run."""

import contextlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tumorboard import progress, storage
from tumorboard.data.image_cache import Rows
from tumorboard.data.manifest import DataSource, Manifest
from tumorboard.ensembles import ensemble
from tumorboard.ensembles.combination import AVERAGES, Rule
from tumorboard.ensembles.ensemble import check_compatible
from tumorboard.errors import DataError, UsageError
from tumorboard.models import saving
from tumorboard.models.model_spec import Contract
from tumorboard.progress import Console
from tumorboard.training import fit
from tumorboard.workflows.build_models import Bench, Facts, Part, learn
from tumorboard.workflows.prepare import decode, find

LEARNING = ensemble.TRAINED | AVERAGES | {"stacked", "boosted", "chain"}
"""Forms that learn from data."""
FORMS = LEARNING | {"B", "vote", "mirrored"}


def combine(
    paths: Sequence[Path],
    out: Path,
    form: str,
    *,
    data: str | Path | DataSource | None = None,
    seed: int = 0,
    console: Console | None = None,
) -> Contract:
    """Write an ensemble or a chain of saved models as `out`, with its contract beside it.

    Args:
        paths: Two `.keras` files or more, each with its `.json`; one is enough to be mirrored.
        out: The new `.keras` file; the model is named after it.
        form: One of `FORMS`.
        data: Class folders or a manifest CSV with train and valid, for the forms that learn (all but B,
            vote and mirrored); the models' classes must be its classes. Test images are not read.
        seed: Of first weights, order and views.
        console: Where progress is shown; quiet by default.

    Returns:
        The new model's contract.

    Raises:
        UsageError: An unknown form, an `out` that will not do, or no data for a form that learns.
        ModelError: A model cannot be loaded, or two do not fit together; says why.
        DataError: The data cannot be used, or has other classes.
        TrainingError, StorageError, Interrupted: As for `train`; nothing is written then.
    """
    _check_request(paths, out, form, data)
    console = console or Console(quiet=True)
    fit.prepare_backend(seed, threads=0)
    with progress.graceful():
        members = [saving.load_given(path) for path in paths]
        shared = check_compatible(members, form)
        name = _name(out)
        if data is None or form not in LEARNING:
            model, facts = ensemble.build(name, members, Rule(form)), Facts()
        else:
            with _folder_beside(out) as folder:
                parts = _read(DataSource.of(data), shared, folder, console)
                model, facts = learn(name, members, form, Bench(parts, folder, console, seed))
        names = [contract.name for _, contract in members]
        details = {"form": form, "members": names, "seed": seed, **facts}
        kind = "chained" if form == "chain" else "ensemble"
        contract = Contract(name, kind, shared.class_names, shared.image, details)
        saving.save(model, contract, out)
    return contract


def _check_request(paths: Sequence[Path], out: Path, form: str, data: object) -> None:
    if form not in FORMS:
        raise UsageError(f"expected a form ({', '.join(sorted(FORMS))}), found {form[:60]!r}")
    if out.suffix != ".keras":
        raise UsageError(f"expected --out to end in .keras, found {out.name[-60:]!r}")
    if out.resolve() in {path.resolve() for path in paths}:
        raise UsageError(f"expected --out to be a new file, found one of the models: {str(out)[-120:]}")
    if form in LEARNING and data is None:
        raise UsageError(f"form {form} learns from images: expected --data with train and valid, found none")


def _name(out: Path) -> str:
    """A name for layers, after the file's: lower-case letters, digits and underscores."""
    name = re.sub("[^a-z0-9]+", "_", out.stem.lower()).strip("_")
    return name if name[:1].isalpha() else f"combined_{name}".rstrip("_")


@contextlib.contextmanager
def _folder_beside(out: Path) -> Iterator[Path]:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=".combining-", dir=out.parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise storage.storage_error(out, error) from error
    with folder as path:
        yield Path(path)


def _read(data: DataSource, shared: Contract, folder: Path, console: Console) -> dict[str, Part]:
    """Train and valid as the models want them; labels are numbered as the models' classes are."""
    loaded = find(data, console)
    _check_data(loaded.manifest, shared, data.path)
    wanted = tuple(sample for sample in loaded.manifest.samples if sample.split in ("train", "valid"))
    whole = replace(loaded.manifest, samples=wanted, class_names=shared.class_names)
    decoded = decode(replace(loaded, manifest=whole), folder, shared.image, console)
    rows = np.array([sample.split for sample in decoded.manifest.samples])
    return {
        split: (decoded.manifest.part(split), Rows(decoded.images, np.flatnonzero(rows == split)))
        for split in ("train", "valid")
    }


def _check_data(found: Manifest, shared: Contract, data: Path) -> None:
    if sorted(found.class_names) != sorted(shared.class_names):
        expected, names = ", ".join(shared.class_names), ", ".join(found.class_names)
        raise DataError(
            f"expected the models' classes ({expected[:80]}) in {data.name[:40]}, found ({names[:80]}); "
            "match them with --class-map or --merge",
            [f"the models': {expected}", f"the data's: {names}"],
        )
    missing = [split for split in ("train", "valid") if not found.part(split).samples]
    if missing:
        raise DataError(
            f"expected train and valid parts in {data.name[:60]}, found no {missing[0]}; "
            "give the manifest.csv of the run that the models come from"
        )
