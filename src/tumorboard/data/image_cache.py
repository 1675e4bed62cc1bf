"""Decode the images of a data set once, to a file of network inputs that is mapped from the disk.

A cache is two files: the pixels, one row per image that could be read, and what was learned while they were
decoded, as JSON. Its name is a hash of everything that the pixels depend on except the images themselves.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from tumorboard import config, storage
from tumorboard.data.image_reader import DecodedImage, largest_undeclared, read_image, to_input
from tumorboard.data.manifest import Manifest, Sample, require_usable
from tumorboard.data.pixels import Pixels
from tumorboard.errors import DataError, display, file_line, plural

READER_VERSION = 5
"""Raise it whenever `image_reader`, `pixels` or `dicom` gives other pixels for any file."""

_AT_ONCE = 64
_LONGEST_FAULT = 180
Progress = Callable[[int, int], None]
OnImage = Callable[[Sample, DecodedImage], None]


@dataclass(frozen=True)
class Rows:
    """Rows of `array`, picked and ordered by `index`; only what is sliced is read into memory."""

    array: "npt.NDArray[np.uint8] | Rows"
    index: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: int | slice | npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        picked: npt.NDArray[np.uint8] = self.array[self.index[key]]
        return picked


Images = npt.NDArray[np.uint8] | Rows
"""(N, H, W, 3), 0-255, in memory or on disk."""


@dataclass(frozen=True)
class Decoded:
    """The images of a data set as network inputs.

    Args:
        manifest: The samples that were read.
        images: uint8 (N, size, size, 3), read-only, from the disk, in the manifest's order.
        pixel_sha256: SHA-256 (hex) of each image's shape and pixels at full size; identical images share it.
        notes: What the user should know, one line each.
        problems: The files that were left out, one line each.
    """

    manifest: Manifest
    images: Images
    pixel_sha256: tuple[str, ...]
    notes: tuple[str, ...]
    problems: tuple[str, ...]


class _Record(TypedDict):
    """What is known of the rows of a cache; `bad` maps positions in `files` to why they could not be read."""

    files: list[str]
    pixel_sha256: list[str]
    notes: list[str]
    bad: dict[str, str]


def decode(
    manifest: Manifest,
    folder: Path,
    settings: config.Image,
    *,
    progress: Progress | None = None,
    skip_bad: bool = False,
    problems: Sequence[str] = (),
    on_image: OnImage | None = None,
) -> Decoded:
    """Decode all images, or map what an earlier call has decoded, of these or of more.

    Memory stays bounded: two images at full size, and 64 at the network's.

    Args:
        manifest: What to decode.
        folder: Where the cache lies.
        settings: How an image becomes the network's input.
        progress: Called with (done, all) after each image.
        skip_bad: Leave out what cannot be read instead of stopping.
        problems: What was found unusable before (`Loaded.problems`), reported together with the rest.
        on_image: Called from two threads for each image that is decoded, not for those that are cached.

    Raises:
        DataError: Files that cannot be used, all of them in `details`; or too few images are left.
        StorageError: The cache cannot be written.
    """
    key = json.dumps([READER_VERSION, settings.model_dump(mode="json")], sort_keys=True)
    path = folder / f"images-{hashlib.sha256(key.encode()).hexdigest()}.u8"
    wanted = [sample.sha256 for sample in manifest.samples]
    with storage.exclusive(path):
        record = _read_record(path, settings)
        if record is not None and record["files"] == wanted:
            complete = skip_bad or not record["bad"]  # what could not be read is tried again
        else:
            complete = record is not None and set(wanted) <= _rows(record).keys()
        if record is None or not complete:
            record = _write(path, manifest, settings, progress, on_image)
        shape = (len(record["pixel_sha256"]), settings.size, settings.size, 3)
        images = np.memmap(path, np.uint8, "r", shape=shape) if shape[0] else np.empty(shape, np.uint8)
    if record["files"] != wanted:  # a part of the cached images; their notes were shown when it was made
        _require_all_readable(problems, len(wanted) + len(problems), skip_bad)
        rows = _rows(record)
        index = np.array([rows[digest] for digest in wanted])
        pixel_sha256 = tuple(record["pixel_sha256"][row] for row in index)
        return Decoded(manifest, Rows(images, index), pixel_sha256, (), tuple(problems))
    faults = (*problems, *record["bad"].values())
    _require_all_readable(faults, len(wanted) + len(problems), skip_bad)
    good = tuple(sample for i, sample in enumerate(manifest.samples) if str(i) not in record["bad"])
    readable = replace(manifest, samples=good)
    if faults:
        require_usable(readable, "what is left of the data", faults)
    return Decoded(readable, images, tuple(record["pixel_sha256"]), tuple(record["notes"]), faults)


def with_depth(
    settings: config.Image, samples: Sequence[Sample], progress: Progress | None = None
) -> config.Image:
    """Replace the depth "auto" by the one with which all 16-bit images of a data set are to be read.

    It is the smallest of `config.DEPTHS` that holds the largest value of the images outside test. It stays
    "auto" if no image has more than 8 bits without declaring how many are used, or if a window is set.
    """
    window = config.parse_window(settings.window)
    if settings.depth != "auto" or (window and not window.hounsfield):
        return settings
    largest, known = 0, [sample.path for sample in samples if sample.split != "test"]
    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(known), _AT_ONCE):
            largest = max(largest, *pool.map(largest_undeclared, known[start : start + _AT_ONCE]))
            if progress:
                progress(min(start + _AT_ONCE, len(known)), len(known))
    depth = next((bits for bits in config.DEPTHS if largest < 1 << bits), "auto") if largest else "auto"
    return settings.model_copy(update={"depth": depth})


def pixel_digest(image: Pixels) -> str:
    """Compute the SHA-256 of an image's shape and pixels, hex."""
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()


def _rows(record: _Record) -> dict[str, int]:
    """By the hash of a file that could be read, the row of its pixels."""
    good = (digest for i, digest in enumerate(record["files"]) if str(i) not in record["bad"])
    return {digest: row for row, digest in enumerate(good)}


def _read_record(path: Path, settings: config.Image) -> _Record | None:
    """Return None if nothing was decoded, or the two files do not fit."""
    try:
        record: _Record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        rows, files = len(record["pixel_sha256"]), len(record["files"])
        whole = path.stat().st_size == rows * settings.size**2 * 3 and rows + len(record["bad"]) == files
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return record if whole else None


def _write(
    path: Path,
    manifest: Manifest,
    settings: config.Image,
    progress: Progress | None,
    on_image: OnImage | None,
) -> _Record:
    files = [sample.sha256 for sample in manifest.samples]
    record: _Record = {"files": files, "pixel_sha256": [], "notes": [], "bad": {}}

    def decoded(sample: Sample) -> tuple[Pixels, str, tuple[str, ...]] | DataError:
        try:
            image = read_image(sample.path, settings)
        except DataError as error:
            return error
        if on_image:
            on_image(sample, image)
        return to_input(image.pixels, settings), pixel_digest(image.pixels), image.notes

    def rows() -> Iterator[tuple[Pixels, str, tuple[str, ...]] | DataError]:
        """In order, a bounded number of them ahead of the consumer."""
        with ThreadPoolExecutor(2) as pool:
            for start in range(0, len(manifest.samples), _AT_ONCE):
                yield from pool.map(decoded, manifest.samples[start : start + _AT_ONCE])

    with storage.writing(path) as file:
        for index, row in enumerate(rows()):
            if isinstance(row, DataError):
                record["bad"][str(index)] = file_line(manifest.samples[index].path, row)
            else:
                pixels, digest, notes = row
                file.write(pixels.tobytes())
                record["pixel_sha256"].append(digest)
                record["notes"] += notes
            if progress:
                progress(index + 1, len(manifest.samples))
        # Before the rows get their name, and after others have lost it: rows always have their own record.
        path.unlink(missing_ok=True)
        storage.write_json(path.with_suffix(".json"), record)
    return record


def _require_all_readable(faults: Sequence[str], files: int, skip_bad: bool) -> None:
    if not faults or skip_bad:
        return
    fault = faults[0] if len(faults[0]) < _LONGEST_FAULT else display(faults[0].partition(": ")[0])
    first = f" ({fault})" if len(faults) == 1 else ""
    raise DataError(
        f"{len(faults)} of {plural(files, 'image')} cannot be read{first}; remove them or pass --skip-bad",
        faults,
    )
