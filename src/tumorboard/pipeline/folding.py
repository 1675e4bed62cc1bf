"""Folds of what may be learnt from: twins and groups stay together, and test is left out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tumorboard.console import Console
from tumorboard.pipeline.split import split
from tumorboard.recipe import Recipe

_VALID = 0.1  # of all images; a fold's validation part chooses nothing when the recipe has no patience


def deal(
    source: Path,
    folder: Path,
    recipe: Recipe,
    k: int,
    *,
    class_map: Mapping[str, Sequence[str]] = {},
    merge: Mapping[str, Sequence[str]] = {},
    skip_bad: bool = False,
    console: Console | None = None,
) -> list[Path]:
    """The manifest of each fold, with the fold in the place of test; dealt once.

    Args:
        source: Class folders, or a manifest CSV; the images of a test part in it are not opened.
        folder: Where the manifests are kept.
        recipe: Its seed chooses among the possible deals.
        k: How many, 2 or more; 0 for none.
        class_map: As for `train`.
        merge: As for `train`.
        skip_bad: As for `train`.
        console: Where progress is shown; quiet by default.

    Raises:
        DataError: The data cannot be used, or a class has too few images for so many folds.
        StorageError: The disk is full or not writable.
    """
    files = [folder / f"manifest-fold{number}.csv" for number in range(1, k + 1)]
    if not all(file.is_file() for file in files):
        for file in files:
            file.unlink(missing_ok=True)
        split(
            source,
            folder / "manifest.csv",
            folds=k,
            valid=_VALID,
            seed=recipe.seed,
            class_map=class_map,
            merge=merge,
            skip_bad=skip_bad,
            window=recipe.image.window,
            keep_test=True,
            console=console,
        )
    return files
