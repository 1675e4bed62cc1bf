"""From a folder of images to a context: find, match, compare with an earlier start, decode, split."""

import functools
from pathlib import Path

from tumorboard import progress, storage
from tumorboard.config import Image, Recipe
from tumorboard.data import image_cache, manifest, splitting
from tumorboard.data.image_cache import Decoded, OnImage
from tumorboard.data.manifest import DataSource, Loaded
from tumorboard.progress import Console, Update, text_table
from tumorboard.run_folder import RunFolder
from tumorboard.workflows import fingerprint
from tumorboard.workflows.run_context import RunContext


def prepare(
    data: str | Path | DataSource,
    run: RunFolder,
    recipe: Recipe,
    console: Console,
    *,
    images: Path | None = None,
    on_image: OnImage | None = None,
) -> RunContext:
    """Everything that can be found wrong is found here, before training; in the data, before Keras is loaded.

    Args:
        data: Class folders or a manifest CSV.
        run: The run folder.
        recipe: The settings.
        console: Where progress is shown.
        images: Where the decoded images lie, if not in the run's own cache.
        on_image: Called for each image that is decoded, see `image_cache.decode`.

    Raises:
        DataError: The data cannot be used; all bad files are named.
        RecipeError: An unknown backbone.
        ModelError: A weights file that is none.
        RunFolderError: The folder was begun with other data or settings.
    """
    loaded = find(data, console)
    now = fingerprint.take(recipe, loaded.manifest)
    fingerprint.require_same(run, now)
    decoded = decode(loaded, images or run.cache, recipe.image, console, on_image)
    whole = splitting.complete(decoded.manifest, decoded.pixel_sha256, recipe.splitting, recipe.seed)
    _refuse_unknown_backbones(recipe)
    storage.write_text(run.manifest, manifest.write_csv(whole))
    fingerprint.record(run, recipe, now)
    return RunContext(run, recipe, whole, decoded, console, loaded.matching)


def _refuse_unknown_backbones(recipe: Recipe) -> None:
    """Before the folder is one of this recipe, and not when the model's turn comes."""
    from tumorboard.models.backbones import check_backbone

    for settings in recipe.models.values():
        if settings.kind == "pretrained":
            check_backbone(settings.backbone, settings.weights)


def find(data: str | Path | DataSource, console: Console, leave_out: str | None = None) -> Loaded:
    """Find the images, except those of a split left out, and show how classes were matched across splits.

    Raises:
        DataError: The data cannot be used.
    """
    loaded = manifest.load(data, leave_out)
    matching = loaded.matching
    header = ("class", *(split or "images" for split in matching.splits))
    console.print(text_table([header, *matching.rows]))
    return loaded


def decode(
    loaded: Loaded, folder: Path, rule: Image, console: Console, on_image: OnImage | None = None
) -> Decoded:
    """Decode the images into `folder`, and say what the user should know of them.

    Raises:
        DataError: Names all files that cannot be used.
        Interrupted: A signal asked to stop; decoding begins anew.
    """
    with console.task("decoding") as update:
        decoded = image_cache.decode(
            loaded.manifest,
            folder,
            rule,
            progress=functools.partial(_step, update),
            skip_bad=loaded.source.skip_bad,
            problems=loaded.problems,
            on_image=on_image,
        )
    for line in (*decoded.notes, *(f"left out: {problem}" for problem in decoded.problems)):
        console.print(line)
    return decoded


def _step(update: Update, done: int, total: int) -> None:
    progress.stop_if_asked()
    update(done, total)
