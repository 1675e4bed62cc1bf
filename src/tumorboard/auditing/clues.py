"""What could tell the class apart from what the images show, as numbers for a guess."""

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from tumorboard.auditing.guessing import Features
from tumorboard.auditing.study import Picture, Study

_BLOCK = 4  # of a thumbnail's 64 pixels: the outermost sixteenth on each side
_BINS = 16
_COARSE = 8  # blocks each way of a blurred picture


def categories(values: Sequence[Hashable]) -> Features:
    """(N, K): a column of 0 and 1 for each value that occurs."""
    known = {value: column for column, value in enumerate(sorted(set(values), key=str))}
    return np.eye(len(known))[[known[value] for value in values]]


def of_pictures(study: Study, clue: Callable[[Picture], Hashable]) -> Features:
    """(N, K): `categories` of something that each picture's record says."""
    return categories([clue(picture) for picture in study.pictures])


def sizes(study: Study) -> Features:
    """(N, 3): height, width, and their ratio."""
    found = np.array([(picture.height, picture.width) for picture in study.pictures], np.float64)
    return np.column_stack([found, found[:, 1] / found[:, 0]])


def metadata(study: Study) -> Features:
    """Everything that is known without looking at a pixel."""
    return np.column_stack(
        [
            sizes(study),
            of_pictures(study, lambda picture: picture.header.format),
            of_pictures(study, lambda picture: picture.header.mode),
            of_pictures(study, lambda picture: picture.header.bits),
        ]
    )


def intensities(study: Study) -> Features:
    """(N, 18): the histogram of grey, its mean and its standard deviation; nothing of where they are."""
    pixels = study.thumbnails.reshape(len(study.thumbnails), -1)
    counts = [np.bincount(row // (256 // _BINS), minlength=_BINS) for row in pixels]
    return np.column_stack([np.array(counts) / pixels.shape[1], pixels.mean(axis=1), pixels.std(axis=1)])


def borders(study: Study) -> Features:
    """(N, 120): mean and brightest grey of each block along the four edges."""
    small = study.thumbnails
    blocks = small.reshape(len(small), small.shape[1] // _BLOCK, _BLOCK, -1, _BLOCK)
    edge = np.ones(blocks.shape[1:4:2], bool)
    edge[1:-1, 1:-1] = False
    return np.concatenate([blocks.mean(axis=(2, 4))[:, edge], blocks.max(axis=(2, 4))[:, edge]], axis=1)


def blurred(study: Study) -> Features:
    """(N, 64): mean grey of the 8 x 8 blocks of each picture."""
    side = study.thumbnails.shape[1] // _COARSE
    blocks = study.thumbnails.reshape(-1, _COARSE, side, _COARSE, side)
    means: Features = blocks.mean(axis=(2, 4)).reshape(-1, _COARSE**2)
    return means
