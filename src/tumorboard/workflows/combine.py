"""Make one model of several saved ones, which need not come from the same run."""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tumorboard import progress, run_folder, storage
from tumorboard.config import Frames
from tumorboard.data.manifest import DataSource, survey
from tumorboard.errors import UsageError, display
from tumorboard.progress import Console
from tumorboard.run_folder import RunFolder

if TYPE_CHECKING:  # Keras, seconds to import
    from tumorboard.models.model_spec import ModelSpec

LEARNING = frozenset({"weighted", "greedy", "stacked", "boosted", "mean_dense", "concat_dense", "chain"})
"""Forms that are fitted on data."""
FORMS = LEARNING | {"mean", "vote", "mirrored"}


def combine(
    paths: Sequence[str | Path],
    out: str | Path,
    form: str,
    *,
    data: str | Path | DataSource | None = None,
    frames: Frames | None = None,
    seed: int = 0,
    console: Console | None = None,
) -> "ModelSpec":
    """Write an ensemble or a chain of saved models as `out`, with its spec beside it.

    Args:
        paths: Two `.keras` files or more, each with its `.json`; one is enough for `mirrored`.
        out: The new `.keras` file; the model is named after it.
        form: One of `FORMS`.
        data: Class folders or a manifest CSV with train and valid, for the forms in `LEARNING`; its classes
            must be the models'. Test images are not read.
        frames: The slices of volumes that are images; None for those of the models' training.
        seed: Of first weights, order and views.
        console: Where progress is shown; quiet by default.

    Returns:
        The new model's spec.

    Raises:
        UsageError: An unknown form, an unusable `out`, no data for a form that is fitted, or some
            for one that is not.
        ModelError: A model cannot be loaded, or two are incompatible; says why.
        DataError: The data cannot be used, or has other classes.
        TrainingError, StorageError, Interrupted: As for `train`; nothing is written then.
    """
    files, out, console = [Path(path) for path in paths], Path(out), console or Console(quiet=True)
    _check_request(files, out, form, data)
    from tumorboard.ensembles.combination import CombinationRule
    from tumorboard.ensembles.ensemble import build_ensemble, check_compatible
    from tumorboard.models import saving
    from tumorboard.models.model_spec import ModelSpec
    from tumorboard.training.fit import prepare_backend
    from tumorboard.workflows import fit_combination

    prepare_backend(seed, threads=0)
    with progress.graceful():
        members = [saving.load_untrusted(file) for file in files]
        shared = check_compatible(members, form)
        stem = re.sub("[^a-z0-9]+", "_", out.stem.lower()).strip("_")
        name = stem if stem[:1].isalpha() else f"combined_{stem}".rstrip("_")  # the prefix of layer names
        facts: dict[str, Any] = {}
        if data is None:
            model = build_ensemble(name, members, CombinationRule(form))
        else:
            try:
                out.parent.mkdir(parents=True, exist_ok=True)
                scratch = tempfile.TemporaryDirectory(
                    prefix=".combining-", dir=out.parent, ignore_cleanup_errors=True
                )
            except OSError as error:
                raise storage.storage_error(out, error) from error
            with scratch as folder:
                parts = fit_combination.read_parts(DataSource.of(data), shared, Path(folder), console, frames)
                model, facts = fit_combination.fit(
                    name, members, form, fit_combination.Fitting(parts, Path(folder), console, seed)
                )
        names = [spec.name for _, spec in members]
        details = {"form": form, "members": names, "seed": seed, **facts}
        kind = "chained" if form == "chain" else "ensemble"
        spec = ModelSpec(name, kind, shared.class_names, shared.image, details)
        saving.save(model, spec, out)
    return spec


def _check_request(paths: Sequence[Path], out: Path, form: str, data: str | Path | DataSource | None) -> None:
    if form not in FORMS:
        raise UsageError(f"expected a form ({', '.join(sorted(FORMS))}), found {form[:60]!r}")
    if out.suffix != ".keras":
        raise UsageError(f"expected --out to end in .keras, found {out.name[-60:]!r}")
    if out.resolve() in {path.resolve() for path in paths}:
        raise UsageError(f"expected --out to be a new file, found one of the models: {display(out)}")
    run = out.resolve().parent.parent
    if RunFolder(run).model(out.stem).resolve() == out.resolve() and RunFolder(run).checksums.is_file():
        raise UsageError(
            f"expected --out outside of a run's models, found {display(out)}; the run {display(run)} would "
            "no longer be what its report describes"
        )
    if form in LEARNING and data is None:
        raise UsageError(f"form {form} is fitted on images: expected --data with train and valid, found none")
    if form not in LEARNING and data is not None:
        raise UsageError(f"form {form} is not fitted on images: expected no --data, found some; leave it out")
    for path in paths:
        run_folder.require_model_file(path)
    if data is not None:
        survey(DataSource.of(data))
