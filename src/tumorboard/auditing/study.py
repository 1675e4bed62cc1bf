"""Everything that the checks look at, gathered in one pass: each image is decoded once, two at a time."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tumorboard.auditing.writing import longest_row
from tumorboard.data import near_duplicates
from tumorboard.data.class_matching import Matching
from tumorboard.data.image_cache import pixel_digest
from tumorboard.data.image_headers import Header, read_header
from tumorboard.data.image_reader import read_with_notes
from tumorboard.data.manifest import Manifest, Sample
from tumorboard.data.near_duplicates import Indices, Twins
from tumorboard.data.pixels import Pixels
from tumorboard.errors import DataError

_AT_ONCE = 64
_COLOURED = 60  # spread of red, green and blue, 0-255: JPEG alone makes less of grey
_MODES_OF_GREY = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "MONOCHROME1", "MONOCHROME2"})

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Picture:
    """What is kept of one image.

    Args:
        header: How it is stored.
        height: In pixels, as it is seen.
        width: In pixels, as it is seen.
        pixel_sha256: Of its shape and pixels.
        coloured: Share of its pixels that are clearly coloured, 0 to 1.
        median_colour: Median spread of red, green and blue, 0-255: about 0 for a grey picture.
        signs_in_a_row: Letters or digits on one line, by `writing.longest_row`.
        notes: What the reader remarked.
    """

    header: Header
    height: int
    width: int
    pixel_sha256: str
    coloured: float
    median_colour: float
    signs_in_a_row: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """The facts; samples, pictures and thumbnails are in the same order.

    Args:
        manifest: The samples that can be read.
        pictures: A record for each.
        thumbnails: uint8 (N, 64, 64), grey.
        problems: The files that cannot be read, one line each.
        matching: How class folders were matched; None if nobody knows any more.
    """

    manifest: Manifest
    pictures: tuple[Picture, ...]
    thumbnails: Pixels
    problems: tuple[str, ...] = ()
    matching: Matching | None = None

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The samples that can be read."""
        return self.manifest.samples

    @cached_property
    def twins(self) -> Twins:
        """Which pictures are the same."""
        return near_duplicates.search([picture.pixel_sha256 for picture in self.pictures], self.thumbnails)

    @cached_property
    def choosing(self) -> Indices:
        """Positions of what one may choose by: one picture of each twin unit, none of test."""
        known = np.flatnonzero([sample.split != "test" for sample in self.samples]).astype(np.int64)
        # A picture under two labels says nothing about either; the first one stands for it.
        return known[np.sort(np.unique(self.twins.unit[known], return_index=True)[1])]


def gather(
    manifest: Manifest,
    *,
    problems: Sequence[str] = (),
    matching: Matching | None = None,
    window: str = "",
    progress: Progress | None = None,
) -> Study:
    """Decode every image once and keep the facts; some 4 KB an image, and two images at full size.

    Args:
        manifest: What to look at.
        problems: Files known to be unusable.
        matching: From `manifest.load`.
        window: Of DICOM images, see `reading.read_image`.
        progress: Called with (done, all) after each image.
    """
    good: list[int] = []
    pictures: list[Picture] = []
    small = np.empty((len(manifest.samples), near_duplicates.SIDE, near_duplicates.SIDE), np.uint8)
    bad = list(problems)
    for index, found in enumerate(_looked(manifest.samples, window)):
        if isinstance(found, DataError):
            bad.append(str(found))
        else:
            picture, small[len(good)] = found
            good.append(index)
            pictures.append(picture)
        if progress:
            progress(index + 1, len(manifest.samples))
    left = replace(manifest, samples=tuple(manifest.samples[index] for index in good))
    return Study(left, tuple(pictures), small[: len(good)], tuple(bad), matching)


def _looked(samples: Sequence[Sample], window: str) -> Iterator[tuple[Picture, Pixels] | DataError]:
    """In order, a bounded number ahead of whoever takes them."""
    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(samples), _AT_ONCE):
            yield from pool.map(lambda sample: _look(sample, window), samples[start : start + _AT_ONCE])


def _look(sample: Sample, window: str) -> tuple[Picture, Pixels] | DataError:
    try:
        image, notes = read_with_notes(sample.path, window=window)
    except DataError as error:
        return error
    header = read_header(sample.path)
    grey = header.mode in _MODES_OF_GREY
    coloured, median = (0.0, 0.0) if grey else colour(image)
    height, width = image.shape[:2]
    same, signs = pixel_digest(image), longest_row(image)
    picture = Picture(header, height, width, same, coloured, median, signs, notes)
    return picture, near_duplicates.thumbnail(image)


def colour(image: Pixels) -> tuple[float, float]:
    """Share of clearly coloured pixels, and the median spread of the channels.

    Args:
        image: uint8 (H, W, 3), 0-255.
    """
    red, green, blue = (np.ascontiguousarray(image[..., channel]) for channel in range(3))
    if np.array_equal(red, green) and np.array_equal(green, blue):
        return 0.0, 0.0
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    counts = np.bincount(spread.ravel(), minlength=256)
    median = int(np.searchsorted(np.cumsum(counts), spread.size / 2))
    return float(counts[_COLOURED:].sum() / spread.size), float(median)
