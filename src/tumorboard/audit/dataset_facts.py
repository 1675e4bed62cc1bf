"""Gather everything that the checks look at; each image is decoded once.

The audit decodes the images by itself, two at a time. When another pass decodes them anyway, as `train` does
for its image cache, that pass hands each image to a `FactsCollector`, and nothing is decoded again.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from tumorboard import config
from tumorboard.audit.leak_meter import LeakMeter
from tumorboard.data import near_duplicates
from tumorboard.data.class_matching import Matching
from tumorboard.data.image_cache import pixel_digest
from tumorboard.data.image_headers import Header, read_header
from tumorboard.data.image_reader import DecodedImage, read_image, split_address
from tumorboard.data.left_out import LeftOut
from tumorboard.data.manifest import FOUND_GROUP, Manifest, Sample
from tumorboard.data.name_keys import NameKey, find_name_keys
from tumorboard.data.near_duplicates import Duplicates, Indices
from tumorboard.data.pixels import Pixels
from tumorboard.errors import DataError, file_line

_AT_ONCE = 64
_COLOURED = 60  # spread of red, green and blue, 0-255: JPEG compression of grey images causes less
_GREY_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "MONOCHROME1", "MONOCHROME2"})

# Burned-in characters. Grey levels, 0-255: minimum of a character, its minimum contrast, maximum around it.
_BRIGHT, _CONTRAST, _BACKGROUND = 90, 50, 40
_NEIGHBOURHOOD = 9  # pixels; strokes of characters are thinner
_MIN_HEIGHT, _MAX_HEIGHT = 5, 0.08  # of a character: pixels, and share of the image's height
_CONNECTED = np.ones((3, 3), np.bool_)

_Box = tuple[int, int, int, int]  # top, bottom, left, right

_KEPT = ("duplicates", "name_keys")  # computed properties that do not depend on splits and groups

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What is kept of one image besides its thumbnail.

    Args:
        header: How it is stored.
        height: In pixels, EXIF orientation applied.
        width: In pixels, EXIF orientation applied.
        pixel_sha256: Of its shape and pixels.
        coloured: Share of its pixels that are clearly coloured, 0 to 1.
        median_spread: Median spread of red, green and blue, 0-255: about 0 for a grey image.
        text_length: Characters in the longest line of burned-in text, see `longest_text_line`.
        notes: Remarks of the image reader.
    """

    header: Header
    height: int
    width: int
    pixel_sha256: str
    coloured: float
    median_spread: float
    text_length: int
    notes: tuple[str, ...]

    @classmethod
    def of(cls, sample: Sample, image: DecodedImage) -> "ImageFacts":
        """Compute the facts of a decoded image; only its header is read from the file."""
        header, pixels = read_header(sample.path), image.pixels
        coloured, spread = (0.0, 0.0) if header.mode in _GREY_MODES else colour(pixels)
        height, width = pixels.shape[:2]
        text = longest_text_line(pixels)
        return cls(header, height, width, pixel_digest(pixels), coloured, spread, text, image.notes)


@dataclass(frozen=True)
class DatasetFacts:
    """The facts of a data set; samples, images and thumbnails are in the same order.

    Args:
        manifest: The samples that can be read.
        images: The facts of each.
        thumbnails: uint8 (N, 64, 64), grey.
        problems: The files that cannot be read, one line each.
        matching: How class folders were matched across splits; None if unknown.
        left_out: What among the images is no input.
        leaks: What `leak_meter.measure` returned; "" if it was not called.
    """

    manifest: Manifest
    images: tuple[ImageFacts, ...]
    thumbnails: Pixels
    problems: tuple[str, ...] = ()
    matching: Matching | None = None
    left_out: tuple[LeftOut, ...] = ()
    leaks: LeakMeter | str = ""

    @property
    def samples(self) -> tuple[Sample, ...]:
        """The samples that can be read."""
        return self.manifest.samples

    def noted(self, text: str) -> list[str]:
        """Return the ids of the images one of whose notes contains this text."""
        pairs = zip(self.samples, self.images, strict=True)
        return [sample.id for sample, image in pairs if any(text in note for note in image.notes)]

    @cached_property
    def duplicates(self) -> Duplicates:
        """Which images are the same, exactly or nearly."""
        return near_duplicates.find_duplicates([image.pixel_sha256 for image in self.images], self.thumbnails)

    @cached_property
    def name_keys(self) -> tuple[NameKey, ...]:
        """Parts of file names, and folders, that tie images and volumes without a group together."""
        # Of a volume one slice: that they share its name is no evidence.
        row_of = {sample.volume or sample.id: row for row, sample in enumerate(self.samples)}
        files = [
            replace(s, id=name, path=split_address(s.path)[0], group=s.given_group)
            for name, s in ((name, self.samples[row]) for name, row in row_of.items())
        ]
        rows = np.array(list(row_of.values()), np.int64)
        keys = find_name_keys(files, self.thumbnails[rows], self.duplicates.component[rows])
        # Where volumes are groups already, a key that ties no two of them tells nothing new.
        return tuple(
            key
            for key in keys
            if len(rows) == len(self.samples) or len(set(key.groups.values())) < len(key.groups)
        )

    def changed(self, **changes: Any) -> "DatasetFacts":
        """Return the facts of the same images with other fields; what stays is not computed again."""
        facts = replace(self, **changes)
        facts.__dict__.update({name: self.__dict__[name] for name in _KEPT if name in self.__dict__})
        return facts

    def with_found_groups(self) -> Manifest:
        """Return the samples, those without a group in the groups that their file names tell."""
        found = {name: FOUND_GROUP + group for key in self.name_keys for name, group in key.groups.items()}
        groups = [
            s.group if s.group not in ("", s.volume) else found.get(s.volume or s.id, s.group)
            for s in self.samples
        ]
        pairs = zip(self.samples, groups, strict=True)
        return replace(self.manifest, samples=tuple(replace(sample, group=group) for sample, group in pairs))

    @cached_property
    def development(self) -> Indices:
        """Positions of the images that choices may use: none of test, and one of each set of duplicates."""
        rows = np.flatnonzero([sample.split != "test" for sample in self.samples]).astype(np.int64)
        # An image under two labels is evidence for neither; the first one represents it.
        return rows[np.sort(np.unique(self.duplicates.component[rows], return_index=True)[1])]


class FactsCollector:
    """Collect the facts of images that another pass decodes; safe to use from several threads."""

    def __init__(self) -> None:
        self._facts: dict[str, tuple[ImageFacts, Pixels]] = {}

    def add(self, sample: Sample, image: DecodedImage) -> None:
        """Keep the facts of an image, some 4 KB."""
        self._facts[sample.id] = ImageFacts.of(sample, image), near_duplicates.thumbnail(image.pixels)

    def take(self, sample: Sample) -> tuple[ImageFacts, Pixels] | None:
        """Hand out the facts and the thumbnail of an image, if it was added, and forget them."""
        return self._facts.pop(sample.id, None)


def gather(
    manifest: Manifest,
    *,
    collected: FactsCollector | None = None,
    problems: Sequence[str] = (),
    matching: Matching | None = None,
    left_out: Sequence[LeftOut] = (),
    settings: config.Image | None = None,
    progress: Progress | None = None,
) -> DatasetFacts:
    """Gather the facts of all images; memory holds some 4 KB per image and two images at full size.

    Args:
        manifest: The samples, with or without splits.
        collected: Facts of images that were decoded already, by the same settings; the others are decoded.
        problems: Files that are known to be unusable.
        matching: From `manifest.load`.
        left_out: From `manifest.load`.
        settings: The window and the depth, see `image_reader.read_image`.
        progress: Called with (done, all) after each image.
    """
    collector, settings = collected or FactsCollector(), settings or config.Image()
    readable: list[int] = []
    images: list[ImageFacts] = []
    thumbnails = np.empty((len(manifest.samples), near_duplicates.SIDE, near_duplicates.SIDE), np.uint8)
    unreadable = list(problems)
    for index, result in enumerate(_facts_in_order(manifest.samples, collector, settings)):
        if isinstance(result, DataError):
            unreadable.append(file_line(manifest.samples[index].path, result))
        else:
            facts, thumbnails[len(readable)] = result
            readable.append(index)
            images.append(facts)
        if progress:
            progress(index + 1, len(manifest.samples))
    rest = replace(manifest, samples=tuple(manifest.samples[index] for index in readable))
    seen = thumbnails[: len(readable)]
    return DatasetFacts(rest, tuple(images), seen, tuple(unreadable), matching, tuple(left_out))


def _facts_in_order(
    samples: Sequence[Sample], collector: FactsCollector, settings: config.Image
) -> Iterator[tuple[ImageFacts, Pixels] | DataError]:
    """Take or compute the facts of each sample, a bounded number ahead of the consumer."""

    def facts(sample: Sample) -> tuple[ImageFacts, Pixels] | DataError:
        if collected := collector.take(sample):
            return collected
        try:
            image = read_image(sample.path, settings)
        except DataError as error:
            return error
        return ImageFacts.of(sample, image), near_duplicates.thumbnail(image.pixels)

    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(samples), _AT_ONCE):
            yield from pool.map(facts, samples[start : start + _AT_ONCE])


def colour(image: Pixels) -> tuple[float, float]:
    """Compute the share of clearly coloured pixels, and the median spread of the channels.

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


def longest_text_line(image: Pixels) -> int:
    """Count the characters in the longest line of text; one or two are as often anatomy as text.

    A line is a row of small bright shapes of one height, close together, on a dark background.

    Args:
        image: uint8 (H, W, 3), 0-255.
    """
    red, green, blue = (np.ascontiguousarray(image[..., channel]) for channel in range(3))
    boxes = sorted(_characters(np.maximum(np.maximum(red, green), blue)), key=lambda box: box[2])
    longest = 0
    for index, first in enumerate(boxes):
        height, count, last = first[1] - first[0], 1, first
        for box in boxes[index + 1 :]:
            same_line = abs(box[1] - last[1]) <= max(2, height / 4)
            same_height = abs(box[1] - box[0] - height) <= max(2, 0.35 * height)
            if same_line and same_height and 0 <= box[2] - last[3] <= 1.2 * height:
                count, last = count + 1, box
        longest = max(longest, count)
    return longest


def _characters(grey: npt.NDArray[np.uint8]) -> Iterator[_Box]:
    """Boxes of shapes with the size of a character that are not filled blocks, on a dark background."""
    darkest = scipy.ndimage.minimum_filter(grey, size=_NEIGHBOURHOOD)
    bright = (grey >= _BRIGHT) & (grey - darkest >= _CONTRAST) & (darkest <= _BACKGROUND)
    labels, _ = scipy.ndimage.label(bright, _CONNECTED)
    for number, (rows, columns) in enumerate(scipy.ndimage.find_objects(labels), 1):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if not (_MIN_HEIGHT <= height <= _MAX_HEIGHT * len(grey) + 4 and width <= 1.6 * height + 2):
            continue
        around = np.s_[max(rows.start - 2, 0) : rows.stop + 2, max(columns.start - 2, 0) : columns.stop + 2]
        shape = labels[around] == number
        if width >= 3 and shape.sum() > 0.85 * height * width:
            continue
        background = grey[around][~scipy.ndimage.binary_dilation(shape, _CONNECTED, iterations=2)]
        if background.size >= 4 and np.percentile(background, 75) <= _BACKGROUND:
            yield rows.start, rows.stop, columns.start, columns.stop
