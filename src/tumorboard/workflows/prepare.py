"""Prepare a run: find and match the images, compare with an earlier start, decode, split, record the plan."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from tumorboard import progress, storage
from tumorboard.audit.dataset_facts import DatasetFacts, FactsCollector, gather
from tumorboard.config import Frames, Image, Recipe
from tumorboard.data import image_cache, manifest, splitting
from tumorboard.data.class_folders import SPLITS
from tumorboard.data.class_matching import Matching
from tumorboard.data.image_cache import Decoded, OnImage
from tumorboard.data.manifest import DataSource, Loaded, Manifest
from tumorboard.errors import RecipeError
from tumorboard.models.backbones import check_backbone
from tumorboard.progress import Console
from tumorboard.reports import terminal
from tumorboard.reports.names import printable
from tumorboard.run_folder import RunFolder
from tumorboard.workflows import fingerprint
from tumorboard.workflows.run_context import RunContext, read_manifest

_NOTES_SHOWN = 20


def prepare(
    data: str | Path | DataSource,
    run: RunFolder,
    recipe: Recipe,
    console: Console,
    *,
    cache: Path | None = None,
) -> RunContext:
    """Prepare a run; every error of data and settings is raised here, before Keras is imported.

    Args:
        data: Class folders or a manifest CSV.
        run: The run folder.
        recipe: The settings; the context has them with the depth of the images.
        console: Where progress is shown.
        cache: The folder of decoded images that runs share, whose manifest names the groups already; by
            default the run's own cache.

    Raises:
        DataError: The data cannot be used; all bad files are named.
        RecipeError: An unknown backbone, or `balance` = "group" without groups.
        ModelError: A weights file that cannot be used.
        RunFolderError: The folder was begun with other data or settings.
        Interrupted: A signal asked to stop; decoding begins anew.
    """
    for settings in recipe.models.values():
        if settings.kind == "pretrained":
            check_backbone(settings.backbone, settings.weights)
    loaded = find_images(data, console, frames=recipe.image.frames)
    recipe = recipe.model_copy(update={"image": find_depth(recipe.image, loaded.manifest, console)})
    now = fingerprint.take(recipe, loaded.manifest)
    fingerprint.require_same(run, now)
    collector = FactsCollector()  # what is decoded now need not be decoded again to be compared
    decoded = decode_images(loaded, cache or run.cache, recipe.image, console, collector.add)
    facts, whole = None, _recorded_splits(run, decoded.manifest)
    if whole is None and (cache is None or decoded.manifest.counts.keys() != set(SPLITS)):
        with console.task("finding groups") as update:
            facts = gather(
                decoded.manifest,
                collected=collector,
                problems=decoded.problems,
                matching=loaded.matching,
                left_out=loaded.left_out,
                settings=recipe.image,
                progress=update,
            )
        tied_samples, tied = tie(facts, recipe.splitting.keep_together)
        whole = splitting.assign_splits(tied_samples, tied, recipe.splitting, recipe.seed)
    whole = whole or decoded.manifest
    _require_groups(recipe, whole)
    storage.write_text(run.manifest, manifest.write_csv(whole))
    fingerprint.record(run, loaded.source, recipe, now)
    return RunContext(run, recipe, whole, decoded, console, loaded.matching, loaded.left_out, facts)


def _require_groups(recipe: Recipe, samples: Manifest) -> None:
    """Raise RecipeError if a model is to be balanced by group and no training image has a group."""
    balanced = [name for name in recipe.names if recipe.training(name).balance == "group"]
    train = samples.select("train").samples
    if balanced and not any(sample.group for sample in train):
        given = recipe.splitting.keep_together == "given"
        raise RecipeError(
            f'expected groups (patients) for balance = "group" of {balanced[0][:40]}, found none in '
            f"{len(train)} training images{' (names are ignored: keep_together is given)' if given else ''}; "
            'name them with --group-by-folder, --group-by-name or --group-column, or set balance = "image"'
        )


def _recorded_splits(run: RunFolder, samples: Manifest) -> Manifest | None:
    """The samples in the groups and splits of an earlier start with the same data and settings."""
    if not (run.fingerprint.is_file() and run.manifest.is_file()):
        return None
    recorded = {sample.id: sample for sample in read_manifest(run).samples}
    if recorded.keys() != set(samples.ids):
        return None
    pairs = ((sample, recorded[sample.id]) for sample in samples.samples)
    return replace(
        samples,
        samples=tuple(replace(sample, split=before.split, group=before.group) for sample, before in pairs),
    )


def tie(facts: DatasetFacts, keep_together: Literal["found", "given"]) -> tuple[Manifest, tuple[str, ...]]:
    """Return the samples in their groups, and for each the name of the component that no split separates.

    Args:
        facts: Of the images.
        keep_together: As in `config.Splitting`.
    """
    everything = keep_together == "found"
    whole = facts.with_found_groups() if everything else facts.manifest
    digests = [image.pixel_sha256 for image in facts.images]
    return whole, splitting.components(whole, digests, facts.duplicates if everything else None)


def find_images(
    data: str | Path | DataSource,
    console: Console,
    leave_out: str | None = None,
    *,
    new_splits: bool = False,
    frames: Frames = "refuse",
) -> Loaded:
    """Find the images, except those of a split left out; show classes of several names, and what is no input.

    Raises:
        DataError: The data cannot be used.
    """
    loaded = manifest.load(data, leave_out, new_splits=new_splits, frames=frames)
    if any(folder != name for name, *folders in loaded.matching.rows for folder in folders):
        console.print("\n".join(matching_lines(loaded.matching)))
    for entry in loaded.left_out:
        console.warn(f"left out: {entry}")
    return loaded


def matching_lines(matching: Matching) -> list[str]:
    """Return every class, and below it the folders that have another name, in lines that fit a terminal."""
    lines = [("", "Classes, and their folders of other names:")]
    for name, *folders in matching.rows:
        lines.append(("  ", name))
        splits: dict[str, list[str]] = {}
        for split, folder in zip(matching.splits, folders, strict=True):
            splits.setdefault(folder, []).append(split or "images")
        lines += [("    ", f"{', '.join(of)}: {folder}") for folder, of in splits.items() if folder != name]
    return [terminal.filled(printable(text), indent) for indent, text in lines]


def find_depth(settings: Image, manifest: Manifest, console: Console) -> Image:
    """Return the settings with the depth of the 16-bit images, and print it.

    Raises:
        Interrupted: A signal asked to stop.
    """
    found = image_cache.with_depth(settings, manifest.samples, lambda done, total: progress.stop_if_asked())
    if found.depth != settings.depth:
        console.print(f"16-bit grey is read with {found.depth} bits, those of the largest value outside test")
    return found


def decode_images(
    loaded: Loaded, folder: Path, image: Image, console: Console, on_image: OnImage | None = None
) -> Decoded:
    """Decode the images into `folder`, and print notes on files and the files that are left out.

    Raises:
        DataError: Names all files that cannot be used.
        Interrupted: A signal asked to stop; decoding begins anew.
    """
    with console.task("decoding") as update:

        def step(done: int, total: int) -> None:
            progress.stop_if_asked()
            update(done, total)

        decoded = image_cache.decode(
            loaded.manifest,
            folder,
            image,
            progress=step,
            skip_bad=loaded.source.skip_bad,
            problems=loaded.problems,
            on_image=on_image,
        )
    if len(decoded.notes) > _NOTES_SHOWN:
        console.print(
            f"the first {_NOTES_SHOWN} of {len(decoded.notes)} notes; the audit counts them by kind:"
        )
    for note in decoded.notes[:_NOTES_SHOWN]:
        console.print(note)
    for problem in decoded.problems:
        console.warn(f"left out: {problem}")
    return decoded
