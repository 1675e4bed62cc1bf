"""Make new splits that keep duplicates and groups together, as manifest CSVs; no image is touched."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from tumorboard import config, storage
from tumorboard.audit.dataset_facts import DatasetFacts, gather
from tumorboard.config import Frames
from tumorboard.data import manifest, splitting
from tumorboard.data.manifest import FOUND_GROUP, DataSource, Loaded, Manifest, Sample, require_usable
from tumorboard.errors import DataError, UsageError, display, plural
from tumorboard.progress import Console
from tumorboard.workflows.prepare import find_depth, find_images, tie

_SIZES = config.Splitting()


@dataclass(frozen=True, slots=True)
class TiedImages:
    """How many images had to stay together.

    Args:
        images: All of them.
        components: Sets of images that stay together, many of one image; they were dealt out.
        groups: Groups that the data names.
        ungrouped: Images without a group: it is unknown whose they are.
        identical: Images that are stored more than once, pixel by pixel.
        near_duplicates: Pairs of different files that show the same.
    """

    images: int
    components: int
    groups: int
    ungrouped: int
    identical: int
    near_duplicates: int


@dataclass(frozen=True, slots=True)
class NewSplits:
    """New splits, written.

    Args:
        files: One manifest CSV, or one for each fold.
        manifests: Their samples.
        tied: What was kept together.
        left_out: Files that cannot be read, and what is no input, one line each.
    """

    files: tuple[Path, ...]
    manifests: tuple[Manifest, ...]
    tied: TiedImages
    left_out: tuple[str, ...]


def split(
    data: str | Path | DataSource,
    out: str | Path,
    *,
    folds: int = 0,
    valid: float = _SIZES.valid,
    test: float | None = None,
    seed: int = 0,
    window: str = "",
    frames: Frames = "refuse",
    keep_test: bool = False,
    keep_together: Literal["found", "given"] = "found",
    console: Console | None = None,
) -> NewSplits:
    """Make new splits of all images, whatever split they were in; groups and duplicates stay together.

    Args:
        data: Class folders or a manifest CSV; only read.
        out: The CSV to write; with folds `out`-fold1.csv and so on.
        folds: 0 for one split; K, 2 or more, for K splits in which each image is test exactly once.
        valid: Share of all images, above 0 and below 0.5.
        test: The same; not with folds. None for 0.2.
        seed: Chooses among the possible splits.
        window: Of DICOM and other grey of more than 8 bits: they are compared as they are seen through it.
        frames: The slices of volumes that are images; the manifest names them.
        keep_test: Leave out the images of a given test split, unopened: only the others are dealt anew.
        keep_together: "given" deals near duplicates and groups that only file names tell like other images.
        console: Where progress is shown; quiet by default.

    Raises:
        UsageError: An option out of range, or a file that is there already.
        DataError: The data cannot be used, or a class has too few images that may be separated.
        StorageError: The disk is full or not writable.
    """
    console = console or Console(quiet=True)
    sizes = _check_sizes(folds, valid, test, window)
    files = _new_files(DataSource.of(data).path, Path(out), folds)
    loaded = find_images(data, console, "test" if keep_test else None, new_splits=True, frames=frames)
    facts = _gather_facts(loaded, window, console)
    whole, tied = tie(facts, keep_together)
    if folds:
        manifests = splitting.new_folds(whole, tied, folds, sizes, seed)
    else:
        manifests = (splitting.new_split(whole, tied, sizes, seed),)
    pairs = zip(manifests, files, strict=True)
    texts = [manifest.write_source_csv(_with_components_as_groups(part, tied), file) for part, file in pairs]
    for file, text in zip(files, texts, strict=True):
        storage.write_text(file, text)
    group_names = [sample.group for sample in whole.samples]
    counts = TiedImages(
        images=len(tied),
        components=len(set(tied)),
        groups=len(set(group_names) - {""}),
        ungrouped=group_names.count(""),
        identical=int((np.bincount(facts.duplicates.identical) > 1).sum()),
        near_duplicates=len(facts.duplicates.near),
    )
    return NewSplits(files, manifests, counts, (*facts.problems, *map(str, loaded.left_out)))


def _check_sizes(folds: int, valid: float, test: float | None, window: str) -> config.Splitting:
    if folds and test is not None:
        raise UsageError("expected --folds or --test, found both; with folds each image is test once")
    if folds < 0 or folds == 1:
        raise UsageError(f"expected 2 or more --folds, found {folds}; leave it out for one split")
    sizes = {"--valid": valid, "--test": _SIZES.test if test is None else test}
    for flag, size in sizes.items():
        if not 0 < size < 0.5:
            raise UsageError(f"expected a share of the images above 0 and below 0.5 as {flag}, found {size}")
    config.require_window(window)
    return config.Splitting(valid=valid, test=sizes["--test"])


def _new_files(source: Path, out: Path, folds: int) -> tuple[Path, ...]:
    """Where the manifests are written: new files, and not among the images."""
    numbered = tuple(out.with_name(f"{out.stem}-fold{k}{out.suffix}") for k in range(1, folds + 1))
    existing = [file for file in (numbered or (out,)) if os.path.lexists(file)]
    if existing:
        raise UsageError(
            f"expected a new file as --out, found {display(existing[0])}; move it or choose another"
        )
    if source.is_dir() and out.parent.resolve().is_relative_to(source.resolve()):
        raise UsageError(
            f"expected --out outside {display(source)}, found {display(out)} among the images; "
            "choose another folder"
        )
    return numbered or (out,)


def _gather_facts(loaded: Loaded, window: str, console: Console) -> DatasetFacts:
    settings = find_depth(config.Image(window=window), loaded.manifest, console)
    with console.task("finding duplicates") as update:
        facts = gather(loaded.manifest, problems=loaded.problems, settings=settings, progress=update)
    if facts.problems and not loaded.source.skip_bad:
        raise DataError(
            f"{len(facts.problems)} of {plural(len(facts.problems) + len(facts.samples), 'image')} cannot be "
            "read; "
            "remove them or pass --skip-bad",
            facts.problems,
        )
    for problem in facts.problems:
        console.warn(f"left out: {problem}")
    require_usable(facts.manifest, "the data", facts.problems, by_split=False)
    return facts


def _with_components_as_groups(manifest: Manifest, tied: Sequence[str]) -> Manifest:
    """Components as groups, which name nobody; a single image without a group gets none, to show that."""
    sizes = Counter(tied)
    given = {
        name
        for sample, name in zip(manifest.samples, tied, strict=True)
        if sample.group and not sample.group.startswith(FOUND_GROUP)
    }

    def group(sample: Sample, component: str) -> str:
        if not sample.group and sizes[component] == 1:
            return ""
        return component if component in given or not sample.group else FOUND_GROUP + component

    samples = (replace(s, group=group(s, name)) for s, name in zip(manifest.samples, tied, strict=True))
    return replace(manifest, samples=tuple(samples))
