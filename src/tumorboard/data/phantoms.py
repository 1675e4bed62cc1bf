"""A synthetic data set in the layout of the chest-CT study, for the demo and for tests: no patient is in it.

The slices themselves are drawn in `thorax`. Every file is marked: a name `synthetic_...`, a comment in the
file, and `.synthetic` in the root. `PLANTED` lists the oddities of the real data that are planted here:

    oddity                    where
    folder names differ       train and valid carry stages (`_T2_N0_M0_Ib`), test does not
    mixed formats             by a file's number, so that the format says nothing about the class
    twins across splits       `normal` of valid and test; every other one in another mode than its original
    conflicting labels        one picture in two classes of train
    a damaged file            a PNG cut in half
    a misnamed file           a JPEG called .png
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from tumorboard.data.thorax import CLASSES, draw_slice
from tumorboard.errors import DataError, UsageError
from tumorboard.storage import write_bytes, write_text

MARK = "synthetic phantom, not a patient"
FEWEST = 16  # images a class: with fewer, planted files would be missing
SPLITS = ("train", "valid", "test")
STAGES = ("_left.lower.lobe_T2_N0_M0_Ib", "_left.hilum_T2_N2_M0_IIIa", "", "_left.hilum_T1_N2_M0_IIIa")
FORMATS = {6: "JPEG", 7: "I;16", 8: "L", 9: "RGB", 14: "RGB", 20: "I;16"}  # by number; the others are RGBA


@dataclass(frozen=True, slots=True)
class Planted:
    """The planted files, as paths relative to the data set's root."""

    twins: tuple[tuple[str, str], ...]
    conflict: tuple[str, str]
    damaged: str
    misnamed: str


def _name(split: str, label: str, number: int, suffix: str = ".png") -> str:
    stage = "" if split == "test" else STAGES[CLASSES.index(label)]
    return f"{split}/{label}{stage}/synthetic_{number:03d}{suffix}"


TWINS = {("test", 1): 1, ("test", 2): 2, ("test", 3): 3, ("test", 4): 4, ("valid", 1): 5}  # of train's number
PLANTED = Planted(
    twins=tuple((_name("train", "normal", of), _name(*at[:1], "normal", at[1])) for at, of in TWINS.items()),
    conflict=(_name("train", CLASSES[1], 2), _name("train", CLASSES[3], 2)),
    damaged=_name("train", CLASSES[0], 3),
    misnamed=_name("train", CLASSES[1], 4),
)


def drawn(ids: Iterable[str]) -> bool:
    """Whether all of these samples, one at least, bear the mark of drawn images in their names."""
    names = [one.rpartition("/")[2] for one in ids]
    return bool(names) and all(name.startswith("synthetic_") for name in names)


def draw(folder: Path, *, seed: int = 0, images_per_class: int = 60) -> Path:
    """Draw the data set; the same arguments give the same bytes.

    Args:
        folder: New, empty, or holding the same data set already.
        seed: Any whole number from 0.
        images_per_class: At least `FEWEST`; a quarter becomes test, a sixth valid, the rest train.

    Returns:
        The folder, for `tumorboard train`.

    Raises:
        UsageError: Too few images.
        DataError: The folder holds something else.
        StorageError: The disk is full or not writable.
    """
    if images_per_class < FEWEST:
        raise UsageError(f"expected at least {FEWEST} images a class, found {images_per_class}; ask for more")
    note = f"{MARK}\nseed {seed}, {images_per_class} images a class\n"
    _refuse_foreign(folder, note)
    write_text(folder / ".synthetic", note)
    for path, content in _files(seed, images_per_class):
        write_bytes(folder / path, content)
    return folder


def _refuse_foreign(folder: Path, note: str) -> None:
    marker = folder / ".synthetic"
    same = marker.is_file() and marker.read_bytes() == note.encode()
    if folder.exists() and not same and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(
            f"expected a new or empty folder for synthetic data, found {folder} in use; name another"
        )


def _files(seed: int, images_per_class: int) -> Iterator[tuple[str, bytes]]:
    valid, test = images_per_class // 6, images_per_class // 4
    for split, count in zip(SPLITS, (images_per_class - valid - test, valid, test), strict=True):
        for label in CLASSES:
            yield from (_file(seed, split, label, number) for number in range(1, count + 1))


def _file(seed: int, split: str, label: str, number: int) -> tuple[str, bytes]:
    path, mode, source = _name(split, label, number), FORMATS.get(number, "RGBA"), (split, label, number)
    if label == "normal" and (split, number) in TWINS:
        source, mode = ("train", label, TWINS[split, number]), ("RGBA", "RGB")[number % 2]
    elif path in PLANTED.conflict:
        source = ("train", CLASSES[1], number)
    elif path == PLANTED.misnamed:
        return path, _encode(draw_slice(_generator(seed, source), label), "JPEG")
    content = _encode(draw_slice(_generator(seed, source), source[1]), mode)
    if path == PLANTED.damaged:
        content = content[: len(content) // 2]
    return _name(split, label, number, ".jpg" if mode == "JPEG" else ".png"), content


def _generator(seed: int, source: tuple[str, str, int]) -> np.random.Generator:
    """Each picture has its own stream, so that it does not depend on how many others are drawn."""
    split, label, number = source
    return np.random.default_rng((seed, SPLITS.index(split), CLASSES.index(label), number))


def _encode(grey: NDArray[np.uint16], mode: str) -> bytes:
    file, text = BytesIO(), PngImagePlugin.PngInfo()
    text.add_text("Comment", MARK)
    eight = Image.fromarray((grey >> 8).astype(np.uint8))
    if mode == "JPEG":
        eight.save(file, "JPEG", quality=90, comment=MARK)
    else:
        image = Image.fromarray(grey) if mode == "I;16" else eight.convert(mode)
        image.save(file, "PNG", pnginfo=text, compress_level=4)
    return file.getvalue()
