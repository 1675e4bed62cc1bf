"""Check whether the class can be predicted from something other than what the images show.

All of these checks are measured alike. A small ensemble of extremely randomised trees (25 trees, or one if
there are at most 10 different rows) is cross-validated five times on train and validation; no test image and
no test label is used. Of near duplicates one image counts, and groups stay on one side of each fold. The
accuracy with its 95% Wilson interval is compared with the share of the majority class. For each class, its
sensitivity and its false-positive rate against all others are reported, at equal prior probability of the
class and the rest.

It is a finding if the accuracy's interval lies above the share of the majority class and the accuracy exceeds
it by 0.05, or if for one class the intervals of the two rates do not overlap and the rates differ by 0.2.
With fewer than 10 different images per class, in 5 groups, the check is not applicable. Of more than 5,000
images a random 5,000 are used.
"""

import functools
import inspect
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from tumorboard.audit.dataset_facts import DatasetFacts, ImageFacts
from tumorboard.audit.findings import Check
from tumorboard.audit.shortcut_probe import Features, find_shortcut

_BLOCK = 4  # of a thumbnail's 64 pixels: the outermost sixteenth on each side
_BINS = 16
_COARSE = 8  # blocks along each side of a blurred image


def one_hot(values: Sequence[Hashable]) -> Features:
    """(N, K): a column of 0 and 1 for each value that occurs."""
    columns = {value: column for column, value in enumerate(sorted(set(values), key=str))}
    return np.eye(len(columns))[[columns[value] for value in values]]


def _by_image(facts: DatasetFacts, value: Callable[[ImageFacts], Hashable]) -> Features:
    """(N, K): `one_hot` of a value of each image."""
    return one_hot([value(image) for image in facts.images])


def colour_modes(facts: DatasetFacts) -> Features:
    """Report whether the class can be predicted from the colour mode of the files (grey, RGB, palette ...).

    Why it matters: Different modes indicate different sources. Every image is read as 8-bit RGB, alpha on
    black, so a network never sees the mode; it may well see other traces of the source: scanner, window,
    crop, compression.

    How it is measured: As all shortcut checks, from the colour mode.

    What to do: Get all classes from one source. Until then report the metrics among the other classes
    separately.
    """
    return _by_image(facts, lambda image: image.header.mode)


def bit_depths(facts: DatasetFacts) -> Features:
    """Report whether the class can be predicted from the bit depth of the files.

    Why it matters: As for [TB201](#tb201): the depth is lost when the image is read, but not the way in which
    the values were mapped to 8 bits.

    How it is measured: As all shortcut checks, from the number of bits of each stored value.

    What to do: Export all classes alike, from the originals if possible.
    """
    return _by_image(facts, lambda image: image.header.bits)


def sizes(facts: DatasetFacts) -> Features:
    """Report whether the class can be predicted from the size and the aspect ratio of the images.

    Why it matters: All images are resized for the network. How much they were reduced is visible as
    sharpness, and how much they were stretched as distortion; a network can learn either.

    How it is measured: As all shortcut checks, from height, width and their ratio.

    What to do: Crop all classes by one rule; try `resize = "pad"` in the recipe, which does not distort, and
    compare.
    """
    shapes = np.array([(image.height, image.width) for image in facts.images], np.float64)
    return np.column_stack([shapes, shapes[:, 1] / shapes[:, 0]])


def file_formats(facts: DatasetFacts) -> Features:
    """Report whether the class can be predicted from the file format.

    Why it matters: JPEG compression leaves blocks and ringing in the pixels. If one class was stored as JPEG
    at any time, they mark it.

    How it is measured: As all shortcut checks, from the format as identified by content.

    What to do: Get all classes from one source, stored alike. Converting JPEG to PNG does not help: the
    traces stay.
    """
    return _by_image(facts, lambda image: image.header.format)


def metadata(facts: DatasetFacts) -> Features:
    """Report whether the class can be predicted from metadata, without any pixel.

    Why it matters: Metadata do not come from the patient. Traces of them are in the pixels, and a network
    learns the easiest feature.

    How it is measured: As all shortcut checks, from size, aspect ratio, format, colour mode and bit depth
    together.

    What to do: Get all classes from one source, stored alike. Compare the models' metrics with this finding,
    and report those among the other classes separately.
    """
    return np.column_stack([sizes(facts), file_formats(facts), colour_modes(facts), bit_depths(facts)])


def intensities(facts: DatasetFacts) -> Features:
    """Report whether the class can be predicted from the distribution of grey values.

    Why it matters: It may be the disease. It may as well be the window, the contrast medium, the scanner, or
    how much background was cropped.

    How it is measured: As all shortcut checks, from a histogram of 16 grey values, the mean and the standard
    deviation of the thumbnail of 64 x 64 pixels.

    What to do: Compare the models' metrics with this finding: what they do not exceed, they may not have
    learned from the disease. Patients with several images raise it, see [TB408](#tb408).
    """
    pixels = facts.thumbnails.reshape(len(facts.thumbnails), -1)
    counts = [np.bincount(row // (256 // _BINS), minlength=_BINS) for row in pixels]
    return np.column_stack([np.array(counts) / pixels.shape[1], pixels.mean(axis=1), pixels.std(axis=1)])


def borders(facts: DatasetFacts) -> Features:
    """Report whether the class can be predicted from the outermost sixteenth of the image on each side.

    Why it matters: No disease is visible there. The border shows a mark, a table, a crop or the outline of
    the body; or it identifies a patient with several images.

    How it is measured: As all shortcut checks, from the mean and the maximum grey value of 60 blocks along
    the four edges of the thumbnail of 64 x 64 pixels.

    What to do: Look for marks in the corners, crop all classes by one rule, keep patients together in splits
    ([TB408](#tb408)).
    """
    small = facts.thumbnails
    blocks = small.reshape(len(small), small.shape[1] // _BLOCK, _BLOCK, -1, _BLOCK)
    edge = np.ones(blocks.shape[1:4:2], bool)
    edge[1:-1, 1:-1] = False
    return np.concatenate([blocks.mean(axis=(2, 4))[:, edge], blocks.max(axis=(2, 4))[:, edge]], axis=1)


def blurred(facts: DatasetFacts) -> Features:
    """Report whether the class can be predicted from images blurred to 8 x 8 pixels.

    Why it matters: A small lesion is not visible any more. The crop, the level of the slice, the window and
    the outline of the body are; or the image identifies a patient with several images. A large tumour may be
    visible even so: the finding is a baseline to exceed, not a proof.

    How it is measured: As all shortcut checks, from the means of the 64 blocks of the thumbnail of 64 x 64
    pixels.

    What to do: Crop and window all classes by one rule, keep patients together in splits ([TB408](#tb408)).
    Compare a model's metrics with this finding.
    """
    side = facts.thumbnails.shape[1] // _COARSE
    blocks = facts.thumbnails.reshape(-1, _COARSE, side, _COARSE, side)
    means: Features = blocks.mean(axis=(2, 4)).reshape(-1, _COARSE**2)
    return means


_OTHER_SOURCE = (
    "The classes come from different sources; every image is read as 8-bit RGB, so a network does not see "
    "this itself, but it may see other traces of the source.",
    "Get all classes from one source; until then report the metrics of the other classes separately.",
)
# Code, title, features, their name in the finding, consequence, remedy.
_TABLE: tuple[tuple[str, str, Callable[[DatasetFacts], Features], str, str, str], ...] = (
    ("TB201", "colour modes by class", colour_modes, "the colour mode", *_OTHER_SOURCE),
    ("TB202", "bit depths by class", bit_depths, "the bit depth", *_OTHER_SOURCE),
    (
        "TB203",
        "sizes and aspect ratios by class",
        sizes,
        "the image size",
        "Resizing leaves traces of the original size and shape, as blur or distortion, that a network can "
        "learn instead of the disease.",
        "Crop all classes by one rule, or pad instead of stretching and compare.",
    ),
    ("TB204", "file formats by class", file_formats, "the file format", *_OTHER_SOURCE),
    (
        "TB501",
        "class predicted from metadata",
        metadata,
        "metadata",
        "Metadata do not come from the patient but from how the file was made, and traces of them are in the "
        "pixels.",
        "Get all classes from one source, stored alike; report metrics of the other classes separately.",
    ),
    (
        "TB502",
        "class predicted from intensities",
        intensities,
        "the grey-value histogram",
        "Brightness alone predicts the class; the cause may be the disease, but also the window, the "
        "contrast medium or the scanner.",
        "Compare a model's metrics with this finding; what does not exceed it may not come from the disease.",
    ),
    (
        "TB503",
        "class predicted from the border",
        borders,
        "the image border",
        "The outermost sixteenth of an image shows no disease, but marks, crops or a table, or it identifies "
        "a patient with several images.",
        "Look for marks in the corners, crop all classes alike, and keep patients together in splits.",
    ),
    (
        "TB504",
        "class predicted from blurred images",
        blurred,
        "images blurred to 8 x 8 pixels",
        "A small lesion is not visible at this size; the crop, the level of the slice and the window are, or "
        "the image identifies a patient with several images.",
        "Crop and window all classes alike, keep patients together in splits, and compare a model's metrics "
        "with this finding.",
    ),
)


CHECKS = tuple(
    Check(
        code,
        title,
        "warning",
        functools.partial(
            find_shortcut, features=features, what=what, consequence=consequence, remedy=remedy
        ),
        inspect.getdoc(features) or "",
    )
    for code, title, features, what, consequence, remedy in _TABLE
)
