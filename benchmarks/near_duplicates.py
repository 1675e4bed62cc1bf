"""Measure how many near duplicates are found, how many are false, and how the search grows.

    python benchmarks/near_duplicates.py DATA

DATA is a folder of class folders, such as the chest CT of the study. Copies of 100 of its distinct
images are hidden among all of them. For growth, thumbnails are warped at random into as many images
as needed, and copies of 1,000 of them are hidden there.
"""

import io
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import numpy as np
from PIL import Image

from tumorboard.data import manifest, near_duplicates
from tumorboard.data.image_cache import pixel_digest
from tumorboard.data.image_reader import read_image
from tumorboard.data.pixels import Pixels

Change = Callable[[Pixels], Pixels]


def main() -> None:
    if sys.argv[1] == "--growth":
        growth(Path(sys.argv[2]), int(sys.argv[3]))
        return
    data = Path(sys.argv[1])
    samples = manifest.load(data).manifest.samples
    images = [read_image(sample.path).pixels for sample in samples]
    digests = [pixel_digest(image) for image in images]
    small = np.array([near_duplicates.thumbnail(image) for image in images])
    for name, changes in (("exact copies", COPIES), ("changed", CHANGED), ("flipped or turned", TURNED)):
        print(f"{name}: {recall(images, digests, small, changes)} of 100 found")
    invented([sample.id for sample in samples], digests, small, {s.id: s.label for s in samples})
    for count in ("10000", "100000"):
        subprocess.run([sys.executable, __file__, "--growth", str(data), count], check=True)


def recall(images: list[Pixels], digests: list[str], small: Pixels, changes: list[Change]) -> int:
    """Count the copies of 100 distinct images, hidden among all, that are found with their originals."""
    distinct = np.unique(digests, return_index=True)[1]
    chosen = np.random.default_rng(0).choice(distinct, 100, replace=False)
    made = [change(images[index]) for index, change in zip(chosen, cycle(changes), strict=False)]
    found = near_duplicates.find_duplicates(
        [*digests, *map(pixel_digest, made)],
        np.concatenate([small, [near_duplicates.thumbnail(one) for one in made]]),
    )
    return int((found.component[chosen] == found.component[len(images) :]).sum())


def invented(ids: list[str], digests: list[str], small: Pixels, labels: dict[str, str]) -> None:
    """List the near duplicates of the classes other than normal, to be judged by eye."""
    kept = [i for i, name in enumerate(ids) if labels[name] != "normal"]
    found = near_duplicates.find_duplicates([digests[i] for i in kept], small[kept])
    print(f"{len(found.near)} near pairs among {len(kept)} images of cancer, to be judged by eye:")
    for near in found.near:
        print(f"  {near.similarity:.4f}  {ids[kept[near.first]]} = {ids[kept[near.second]]}")


def growth(data: Path, count: int) -> None:
    paths = [sample.path for sample in manifest.load(data).manifest.samples[::4]]
    base = np.array([near_duplicates.thumbnail(read_image(path).pixels) for path in paths])
    rng = np.random.default_rng(0)
    pictures = np.empty((count, near_duplicates.SIDE, near_duplicates.SIDE), np.uint8)
    for i in range(count):
        pictures[i] = _warped(base[i % len(base)], rng)
    originals = rng.choice(count // 2, 1000, replace=False)
    copies = count - 1 - np.arange(1000)
    for original, copy, change in zip(originals, copies, cycle(_DISGUISES)):
        pictures[copy] = change(pictures[original], rng)
    names = [str(i) for i in range(count)]
    begun = time.perf_counter()
    found = near_duplicates.find_duplicates(names, pictures)
    seconds = time.perf_counter() - begun
    right = int((found.component[originals] == found.component[copies]).sum())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{count} pictures: {seconds:.1f} s, peak {peak:.0f} MB, {right} of 1000 hidden copies found")


def _warped(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """Warp an image as if it were of another patient: rotated by up to 14 degrees, scaled and shifted."""
    angle, wide, high = rng.uniform((-0.25, 0.8, 0.8), (0.25, 1.1, 1.1))
    turn = np.array(
        [[np.cos(angle) * wide, np.sin(angle) * wide], [-np.sin(angle) * high, np.cos(angle) * high]]
    )
    shift = (
        np.full(2, near_duplicates.SIDE / 2)
        + rng.uniform(-6, 6, 2)
        - turn @ np.full(2, near_duplicates.SIDE / 2)
    )
    rows = (*turn[0], shift[0], *turn[1], shift[1])
    image = Image.fromarray(picture).transform(picture.shape, Image.Transform.AFFINE, rows, _BILINEAR)
    return np.asarray(image)


def _noisy(picture: Pixels, rng: np.random.Generator) -> Pixels:
    return np.clip(picture * rng.uniform(0.9, 1.1) + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)


def _jpeg(quality: int) -> Change:
    def change(image: Pixels) -> Pixels:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))

    return change


def _resized(factor: float) -> Change:
    def change(image: Pixels) -> Pixels:
        size = round(image.shape[1] * factor), round(image.shape[0] * factor)
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))

    return change


def _brighter(factor: float) -> Change:
    return lambda image: np.clip(image * factor, 0, 255).astype(np.uint8)


def _eight_ways() -> Iterator[Change]:
    """Return the seven flips and rotations of a square that change it."""
    for quarters in range(4):
        if quarters:
            yield lambda image, k=quarters: np.ascontiguousarray(np.rot90(image, k))
        yield lambda image, k=quarters: np.ascontiguousarray(np.rot90(image, k)[:, ::-1])


_BILINEAR = Image.Resampling.BILINEAR
COPIES: list[Change] = [lambda image: image.copy()]
CHANGED = [_jpeg(40), _jpeg(80), _resized(0.5), _resized(1.5), _brighter(0.9), _brighter(1.1)]
TURNED = list(_eight_ways())
_DISGUISES = [
    _noisy,
    lambda picture, rng: _noisy(picture[::-1], rng),
    lambda picture, rng: _noisy(np.rot90(picture), rng),
]

if __name__ == "__main__":
    main()
