"""Some rows of an array on disk, read when they are asked for."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TypedDict

import numpy as np
import numpy.typing as npt

from tumorboard import config, storage
from tumorboard.data.image_reader import read_with_notes, to_input
from tumorboard.data.manifest import Manifest, Sample, require_usable
from tumorboard.data.pixels import Pixels
from tumorboard.errors import DataError


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


READER_VERSION = 2
"""Raise it whenever `reading` or `modes` gives other pixels for any file."""

_AT_ONCE = 64
Progress = Callable[[int, int], None]
OnImage = Callable[[Sample, Pixels, tuple[str, ...]], None]
"""Called with a sample, its pixels at full size, uint8 (H, W, 3), 0-255, and the remarks of the reader."""


@dataclass(frozen=True)
class Decoded:
    """The images of a study as network inputs.

    Args:
        manifest: The samples that were read.
        images: uint8 (N, size, size, 3), read-only, from the disk, in the manifest's order.
        pixel_sha256: SHA-256 (hex) of each picture's shape and pixels at full size; twins share it.
        notes: What the user should know, one line each.
        problems: The files that were left out, one line each.
    """

    manifest: Manifest
    images: Images
    pixel_sha256: tuple[str, ...]
    notes: tuple[str, ...]
    problems: tuple[str, ...]


class _Facts(TypedDict):
    files: list[str]
    pixel_sha256: list[str]
    notes: list[str]
    bad: dict[str, str]


def decode(
    manifest: Manifest,
    folder: Path,
    rule: config.Image,
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
        rule: How an image becomes the network's input.
        progress: Called with (done, all) after each image.
        skip_bad: Leave out what cannot be read instead of stopping.
        problems: What was found unusable before (`Loaded.problems`), reported together with the rest.
        on_image: Called from two threads for each image that is decoded, not for those that are cached.

    Raises:
        DataError: Files that cannot be used, all of them in `details`; or too few images are left.
        StorageError: The cache cannot be written.
    """
    path = folder / f"images-{_key(rule)}.u8"
    wanted = [sample.sha256 for sample in manifest.samples]
    with storage.turn(path):
        facts = _stored(path, rule)
        if facts is None or not _serves(facts, wanted, skip_bad):
            facts = _write(path, manifest, rule, progress, on_image)
        everything = _mapped(path, (len(facts["pixel_sha256"]), rule.size, rule.size, 3))
    if facts["files"] != wanted:
        return _part(manifest, facts, everything, problems, skip_bad)
    faults = (*problems, *facts["bad"].values())
    _refuse(faults, len(wanted) + len(problems), skip_bad)
    good = tuple(sample for i, sample in enumerate(manifest.samples) if str(i) not in facts["bad"])
    left = replace(manifest, samples=good)
    if faults:
        require_usable(left, "what is left of the data", faults)
    return Decoded(left, everything, tuple(facts["pixel_sha256"]), tuple(facts["notes"]), faults)


def pixel_digest(image: Pixels) -> str:
    """SHA-256 of a picture's shape and pixels, hex."""
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()


def _key(rule: config.Image) -> str:
    content = [READER_VERSION, rule.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _rows(facts: _Facts) -> dict[str, int]:
    """Where the pixels of a file that could be read are, by the hash of its content."""
    good = (one for i, one in enumerate(facts["files"]) if str(i) not in facts["bad"])
    return {one: row for row, one in enumerate(good)}


def _mapped(path: Path, shape: tuple[int, ...]) -> Pixels:
    return np.memmap(path, np.uint8, "r", shape=shape) if shape[0] else np.empty(shape, np.uint8)


def _serves(facts: _Facts, wanted: Sequence[str], skip_bad: bool) -> bool:
    """Whether all that is wanted lies there; what could not be read is tried again, unless it may be bad."""
    if facts["files"] == wanted:
        return skip_bad or not facts["bad"]
    return set(wanted) <= _rows(facts).keys()


def _part(
    manifest: Manifest, facts: _Facts, everything: Pixels, problems: Sequence[str], skip_bad: bool
) -> Decoded:
    """Some of the images that lie there; their notes were told when they were decoded."""
    _refuse(problems, len(manifest.samples) + len(problems), skip_bad)
    rows = _rows(facts)
    index = np.array([rows[sample.sha256] for sample in manifest.samples])
    pixels = tuple(facts["pixel_sha256"][row] for row in index)
    return Decoded(manifest, Rows(everything, index), pixels, (), tuple(problems))


def _stored(path: Path, rule: config.Image) -> _Facts | None:
    """What was learned when images were decoded; None if none were, or the two files do not fit."""
    try:
        facts: _Facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        rows = len(facts["pixel_sha256"])
        files = len(facts["files"])
        whole = path.stat().st_size == rows * rule.size**2 * 3 and rows + len(facts["bad"]) == files
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return facts if whole else None


def _write(
    path: Path,
    manifest: Manifest,
    rule: config.Image,
    progress: Progress | None,
    on_image: OnImage | None,
) -> _Facts:
    files = [sample.sha256 for sample in manifest.samples]
    facts: _Facts = {"files": files, "pixel_sha256": [], "notes": [], "bad": {}}
    with storage.writing(path) as file:
        for index, result in enumerate(_decoded(manifest.samples, rule, on_image)):
            _keep(result, index, file, facts)
            if progress:
                progress(index + 1, len(manifest.samples))
        # Before the rows get their name, and after others have lost it: rows always have their own facts.
        path.unlink(missing_ok=True)
        storage.write_json(path.with_suffix(".json"), facts)
    return facts


def _keep(result: "_Row | DataError", index: int, file: IO[bytes], facts: _Facts) -> None:
    if isinstance(result, DataError):
        facts["bad"][str(index)] = str(result)
        return
    file.write(result.pixels.tobytes())
    facts["pixel_sha256"].append(result.sha256)
    facts["notes"] += result.notes


@dataclass(frozen=True, slots=True)
class _Row:
    pixels: Pixels
    sha256: str
    notes: tuple[str, ...]


def _decoded(
    samples: Sequence[Sample], rule: config.Image, on_image: OnImage | None
) -> Iterator[_Row | DataError]:
    """Rows in order, a bounded number of them ahead of whoever takes them."""
    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(samples), _AT_ONCE):
            yield from pool.map(
                lambda sample: _row(sample, rule, on_image), samples[start : start + _AT_ONCE]
            )


def _row(sample: Sample, rule: config.Image, on_image: OnImage | None) -> _Row | DataError:
    try:
        image, notes = read_with_notes(sample.path, window=rule.window)
    except DataError as error:
        return error
    if on_image:
        on_image(sample, image, notes)
    return _Row(to_input(image, rule), pixel_digest(image), notes)


def _refuse(faults: Sequence[str], files: int, skip_bad: bool) -> None:
    if not faults or skip_bad:
        return
    first = f" ({faults[0]})" if len(faults) == 1 else ""
    raise DataError(
        f"{len(faults)} of {files} images cannot be read{first[:180]}; remove them or pass --skip-bad", faults
    )
