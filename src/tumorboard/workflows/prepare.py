"""Prepare a run: find and match the images, compare with an earlier start, decode, split, record the plan."""

from pathlib import Path

from tumorboard import progress, storage
from tumorboard.config import Image, Recipe
from tumorboard.data import image_cache, manifest, splitting
from tumorboard.data.class_matching import Matching
from tumorboard.data.image_cache import Decoded, OnImage
from tumorboard.data.manifest import DataSource, Loaded
from tumorboard.progress import Console
from tumorboard.reports import terminal
from tumorboard.reports.document import printable
from tumorboard.run_folder import RunFolder
from tumorboard.workflows import fingerprint
from tumorboard.workflows.run_context import RunContext


def prepare(
    data: str | Path | DataSource,
    run: RunFolder,
    recipe: Recipe,
    console: Console,
    *,
    cache: Path | None = None,
    on_image: OnImage | None = None,
) -> RunContext:
    """Prepare a run; every error of data and settings is raised here, one of data before Keras is imported.

    Args:
        data: Class folders or a manifest CSV.
        run: The run folder.
        recipe: The settings.
        console: Where progress is shown.
        cache: The folder of the decoded images; by default the run's own cache.
        on_image: Called for each image that is decoded, see `image_cache.decode`.

    Raises:
        DataError: The data cannot be used; all bad files are named.
        RecipeError: An unknown backbone.
        ModelError: A weights file that cannot be used.
        RunFolderError: The folder was begun with other data or settings.
        Interrupted: A signal asked to stop; decoding begins anew.
    """
    loaded = find_images(data, console)
    now = fingerprint.take(recipe, loaded.manifest)
    fingerprint.require_same(run, now)
    decoded = decode_images(loaded, cache or run.cache, recipe.image, console, on_image)
    whole = splitting.assign_splits(decoded.manifest, decoded.pixel_sha256, recipe.splitting, recipe.seed)
    pretrained = [settings for settings in recipe.models.values() if settings.kind == "pretrained"]
    if pretrained:  # an unknown backbone is refused before the folder belongs to this recipe
        from tumorboard.models.backbones import check_backbone

        for settings in pretrained:
            check_backbone(settings.backbone, settings.weights)
    storage.write_text(run.manifest, manifest.write_csv(whole))
    fingerprint.record(run, loaded.source, recipe, now)
    return RunContext(run, recipe, whole, decoded, console, loaded.matching)


def find_images(data: str | Path | DataSource, console: Console, leave_out: str | None = None) -> Loaded:
    """Find the images, except those of a split left out, and show the class folders that have other names.

    Raises:
        DataError: The data cannot be used.
    """
    loaded = manifest.load(data, leave_out)
    if any(folder != name for name, *folders in loaded.matching.rows for folder in folders):
        console.print("\n".join(matching_lines(loaded.matching)))
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
    for line in (*decoded.notes, *(f"left out: {problem}" for problem in decoded.problems)):
        console.print(line)
    return decoded
