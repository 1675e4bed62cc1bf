"""Draw synthetic axial slices of a thorax, healthy or with a lesion, and a data set of them.

A slice is built in Hounsfield units (air -1000, lung -850, fat -95, muscle 45, bone 200 and more) and
windowed to grey. The class is the lesion; sizes overlap and other shadows occur in all classes:

    class                      lesion
    adenocarcinoma             small, at the lung's edge, spiculated, in a ground-glass halo
    large.cell.carcinoma       large, at the lung's edge, smooth
    normal                     none
    squamous.cell.carcinoma    beside the hilum, at times with a cavity
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import scipy
from numpy.typing import NDArray
from PIL import Image, ImageDraw, PngImagePlugin

from tumorboard.data.class_folders import SPLITS
from tumorboard.errors import DataError, UsageError
from tumorboard.storage import write_bytes, write_text

CLASSES = ("adenocarcinoma", "large.cell.carcinoma", "normal", "squamous.cell.carcinoma")

Array = NDArray[np.float32]
# Ellipses as x, y, half axes, turn, power, HU; the unit is half a body's width, from its middle, y down.
Shape = tuple[float, ...]
BODY: tuple[Shape, ...] = (
    *((0, 0, 1, 0.67, 0, 2.5, -95), (0, 0.01, 0.93, 0.6, 0, 2.4, 45), (0, 0, 0.8, 0.52, 0, 2.3, -60)),
    *((0, -0.525, 0.13, 0.035, 0, 3, 420), (0, -0.525, 0.115, 0.02, 0, 3, 160)),  # sternum
)
LUNGS: tuple[Shape, ...] = tuple((s * 0.4, 0.01, 0.325, 0.46, s * -0.1, 2.3, -850) for s in (-1, 1))
SPINE: tuple[Shape, ...] = (
    (0, 0.3, 0.135, 0.14, 0, 2.2, 40),
    *((s * 0.15, 0.45, 0.13, 0.12, s * -0.6, 2, 50) for s in (-1, 1)),  # muscle
    *((0, 0.33, 0.115, 0.095, 0, 2.4, 480), (0, 0.33, 0.095, 0.075, 0, 2.4, 210)),  # vertebral body
    *((s * 0.13, 0.455, 0.1, 0.028, s * -0.5, 2, 420) for s in (-1, 1)),  # transverse processes
    *((0, 0.455, 0.075, 0.06, 0, 2, 430), (0, 0.445, 0.052, 0.042, 0, 2, 30)),  # arch and canal
    (0, 0.545, 0.02, 0.07, 0, 2, 450),  # spinous process
)


def draw_slice(rng: np.random.Generator, label: str) -> NDArray[np.uint16]:
    """Draw one slice of a class as 16-bit grey (height, width)."""
    width, level = (
        int(rng.integers(170, 250)),
        rng.uniform(),
    )  # from the arch of the aorta (0) to the heart (1)
    height = int(width * rng.uniform(0.66, 0.74))
    x, y, table = _grid(rng, height, width)
    hu = np.where(table, np.float32(-600), np.float32(-1000))
    _paint(hu, x, y, BODY)
    _bones(hu, rng, x, y)
    _paint(hu, x, y, LUNGS)
    lung = hu < -700
    _paint(hu, x, y, (*_mediastinum(rng, level), *SPINE))
    lung &= (hu < -700) & (np.abs(x) > 0.08) & (np.hypot(x / 0.8, y / 0.55) < 1)
    air = scipy.ndimage.gaussian_filter(lung.astype(np.float32), 0.5)
    haze = rng.uniform(60, 500) * (rng.random() < 0.3)  # blood pools at the back of many healthy lungs
    _blend(hu, air, -860 + 70 * y + haze * np.clip(y, 0, 1) + 25 * _cloud(rng, hu.shape, 9))
    _blend(hu, air * _vessels(rng, height, width), 40)
    _lesion(hu, rng, x, y, air, label)
    hu += 10 * _cloud(rng, hu.shape, 14) * (hu > -300)
    hu = scipy.ndimage.gaussian_filter(hu, rng.uniform(0.45, 0.7))
    hu += rng.uniform(30, 80) * scipy.ndimage.gaussian_filter(rng.standard_normal(hu.shape, np.float32), 0.6)
    window = (hu - rng.uniform(-1050, -950)) / rng.uniform(1500, 2200)
    return np.asarray(np.clip(window, 0, 1) * 65535, np.uint16)


def _grid(rng: np.random.Generator, height: int, width: int) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Coordinates (height, width) that bend the anatomy a little, as no two bodies are alike; the table."""
    rows, columns = np.indices((height, width), dtype=np.float32)
    x = (columns / width - 0.5) * 2.1 * float(rng.uniform(0.95, 1.03)) + float(rng.normal(0, 0.02))
    y = (rows - height / 2) / width * 2.1 * float(rng.uniform(0.92, 1.05)) + float(rng.normal(0, 0.015))
    table = np.abs(y - 0.72 + 0.1 * x**2) < 0.008
    return x + 0.022 * _cloud(rng, x.shape, 6), y + 0.018 * _cloud(rng, x.shape, 6), table


def _cloud(rng: np.random.Generator, shape: tuple[int, ...], cells: int) -> Array:
    """Smooth noise of about unit deviation, `cells` bumps wide."""
    coarse = Image.fromarray(rng.standard_normal((cells, cells), np.float32))
    return np.asarray(coarse.resize((shape[1], shape[0]), Image.Resampling.BICUBIC), np.float32)


def _blend(hu: Array, mask: Array, value: Array | float) -> None:
    hu += mask * (value - hu)


def _paint(hu: Array, x: Array, y: Array, shapes: Iterable[Shape]) -> None:
    """Paint superellipses one over the other, each with an edge one pixel wide."""
    for cx, cy, rx, ry, turn, power, value in shapes:
        reach = max(rx, ry) * 1.1 + 0.02
        near = (np.abs(x - cx) < reach) & (np.abs(y - cy) < reach)
        dx, dy = x[near] - np.float32(cx), y[near] - np.float32(cy)
        u = np.abs(dx * np.float32(np.cos(turn)) + dy * np.float32(np.sin(turn))) / np.float32(rx)
        v = np.abs(dy * np.float32(np.cos(turn)) - dx * np.float32(np.sin(turn))) / np.float32(ry)
        rho = (u ** np.float32(power) + v ** np.float32(power)) ** np.float32(1 / power)
        mask = np.clip((1 - rho) * np.float32(min(rx, ry) * x.shape[1] / 2.1) + 0.5, 0, 1)
        hu[near] += mask * (np.float32(value) - hu[near])


def _bones(hu: Array, rng: np.random.Generator, x: Array, y: Array) -> None:
    """Shoulder blades, and ribs cut slantwise: short arcs with a bright rim around the chest wall."""
    size = rng.uniform(0.5, 1.0)
    for side in (-1, 1):
        outer = (side * 0.74, 0.3, 0.03, 0.16 * size, side * 0.75, 2)
        _paint(hu, x, y, ((*outer, 480), (side * 0.74, 0.3, 0.012, 0.13 * size, side * 0.75, 2, 200)))
    rho = (np.abs(x / 0.775) ** 2.3 + np.abs(y / 0.51) ** 2.3) ** (1 / 2.3)
    wall = np.abs(rho - 1.03) < 0.08
    angle, outward, right = np.arctan2(y / 0.51, np.abs(x) / 0.775)[wall], rho[wall] - 1.03, x[wall] > 0
    bone = hu[wall]
    for side in (False, True):
        for centre in np.arange(-1.15, 1.25, 0.36) + rng.uniform(0, 0.2):
            along = angle - centre
            level = np.hypot((outward - 0.12 * along) / 0.04, along / rng.uniform(0.05, 0.13))
            bone[(right == side) & (level < 1)] = 520
            bone[(right == side) & (level < 0.6)] = 230
    hu[wall] = bone


def _mediastinum(rng: np.random.Generator, level: float) -> Iterator[Shape]:
    """Heart or great vessels, aorta, gullet and airway; contrast medium makes blood bright in some."""
    blood, wide = rng.uniform(40, 170), 0.13 + 0.2 * level
    yield (0, -0.12, 0.11 + 0.06 * level, 0.36, 0, 2, -60)
    yield (0, 0.08, 0.13 + 0.05 * level, 0.2, 0, 2, 30)
    yield (0.02 + 0.1 * level, -0.13, wide, 0.2 + 0.11 * level, -0.5 * level, 2.1, 45)
    for cx, cy, size in ((0.02, -0.17, 0.5), (0.06 + 0.12 * level, -0.06, 0.55), (-0.06, -0.2, 0.4)):
        yield (cx, cy, size * wide, size * (0.2 + 0.1 * level), -0.5, 2, blood)
    yield from ((0.105, 0.215, 0.065, 0.065, 0, 2, blood), (-0.02, 0.2, 0.035, 0.025, 0, 2, 40))
    trachea, bronchi = ((0, 0.06, 0.05, 0.06),), ((-0.1, 0.09, 0.04, 0.035), (0.11, 0.09, 0.04, 0.03))
    for cx, cy, rx, ry in (trachea if level < 0.35 else bronchi) if level < 0.75 else ():
        yield from ((cx, cy, rx + 0.02, ry + 0.02, 0, 2, 45), (cx, cy, rx, ry, 0, 2, -980))


def _vessels(rng: np.random.Generator, height: int, width: int) -> Array:
    """Trees that leave both hila, 0 to 1; stretches that run out of the slice are left out."""
    canvas, scale = Image.new("L", (width * 2, height * 2)), width * 2 / 2.1
    pen, stack = ImageDraw.Draw(canvas), []
    for side in (-1, 1):
        for turn in np.linspace(-1.3, 1.3, 6) + rng.normal(0, 0.15, 6):
            length, thick = rng.uniform((0.08, 0.02), (0.17, 0.036))
            stack.append((side * 0.19, 0.05, (1 - side) * np.pi / 2 + turn, length, thick))
    while stack:
        px, py, angle, length, thick = stack.pop()
        qx, qy = px + length * np.cos(angle), py + length * np.sin(angle)
        line = (width + px * scale, height + py * scale, width + qx * scale, height + qy * scale)
        draws = rng.random(7)
        if draws[6] < 0.6:
            pen.line(line, fill=int(min(255, 90 + 8000 * thick)), width=max(1, round(thick * scale)))
        for bend, shorter, thinner in ((-draws[0], *draws[1:3]), (draws[3], *draws[4:6])):
            child = thick * (0.5 + 0.3 * thinner)
            if child > 0.0045:
                stack.append((qx, qy, angle + 0.6 * bend, length * (0.55 + 0.4 * shorter), child))
    return np.asarray(canvas.resize((width, height), Image.Resampling.BOX), np.float32) / np.float32(255)


def _lesion(hu: Array, rng: np.random.Generator, x: Array, y: Array, lung: Array, label: str) -> None:
    if label == "adenocarcinoma":
        radius = rng.uniform(0.045, 0.12)
        cx, cy = _edge_of_lung(rng, x, y, lung, radius)
        halo = np.exp(-np.square(np.hypot(x - cx, y - cy) / (1.7 * radius)))
        _blend(hu, lung * halo * rng.uniform(0.3, 0.7), -350)
        _blend(hu, lung * _blob(rng, x, y, cx, cy, radius, range(3, 14), 0.22, 0.035), rng.uniform(-120, 50))
    elif label == "large.cell.carcinoma":
        radius = rng.uniform(0.085, 0.2)
        cx, cy = _edge_of_lung(rng, x, y, lung, radius)
        _blend(hu, lung * _blob(rng, x, y, cx, cy, radius, range(2, 4), 0.12, 0.02), rng.uniform(0, 70))
        core = _blob(rng, x, y, cx, cy, radius / 2, range(2, 5), 0.2, 0.1) * rng.uniform(0, 0.8)
        _blend(hu, lung * core, -20)
    elif label == "squamous.cell.carcinoma":
        radius, side = rng.uniform(0.07, 0.16), rng.choice((-1, 1))
        cx, cy = side * (0.2 + rng.uniform(0.3, 1.2) * radius), rng.normal(0.06, 0.07)
        mass = _blob(rng, x, y, cx, cy, radius, range(2, 8), 0.25, 0.025) * np.maximum(lung, np.abs(x) > 0.12)
        _blend(hu, mass, rng.uniform(0, 70))
        if rng.random() < 0.35:
            inner = _blob(rng, x, y, cx, cy, radius * rng.uniform(0.35, 0.6), range(2, 5), 0.2, 0.02)
            _blend(hu, mass * inner, -900)


def _edge_of_lung(
    rng: np.random.Generator, x: Array, y: Array, lung: Array, radius: float
) -> tuple[float, float]:
    """A place at the chest wall, away from the hilum, where a lesion of this radius nears the pleura."""
    depth = scipy.ndimage.distance_transform_edt(lung > 0.5) * 2.1 / x.shape[1]
    fits = (depth > 0.6 * radius) & (depth < 1.2 * radius + 0.03) & (np.abs(x) > 0.4)
    row, column = rng.choice(np.argwhere(fits if fits.any() else depth > 0))
    return float(x[row, column]), float(y[row, column])


def _blob(
    rng: np.random.Generator, x: Array, y: Array, cx: float, cy: float, radius: float,
    waves: range, rough: float, soft: float,
) -> Array:  # fmt: skip
    """A filled outline, 0 to 1, whose radius swings by `rough` in `waves`; `soft` is its edge's width."""
    theta, swing = np.arctan2(y - cy, x - cx), np.zeros_like(x)
    for k in waves:
        swing += rng.normal() * np.cos(k * theta + rng.uniform(0, 2 * np.pi))
    edge = radius * (1 + rough * swing / len(waves) ** 0.5)
    return np.asarray(np.clip((edge - np.hypot(x - cx, y - cy)) / soft + 0.5, 0, 1), np.float32)


MARK = "synthetic phantom, not a patient"
FEWEST = 16  # images per class: with fewer, planted files would be missing
STAGES = ("_left.lower.lobe_T2_N0_M0_Ib", "_left.hilum_T2_N2_M0_IIIa", "", "_left.hilum_T1_N2_M0_IIIa")
FORMATS = {6: "JPEG", 7: "I;16", 8: "L", 9: "RGB", 14: "RGB", 20: "I;16"}  # by number; the others are RGBA


@dataclass(frozen=True, slots=True)
class Planted:
    """Faults planted for the audit to find, as paths relative to the data set's root."""

    duplicates: tuple[tuple[str, str], ...]
    conflict: tuple[str, str]
    damaged: str
    misnamed: str


def _name(split: str, label: str, number: int, suffix: str = ".png") -> str:
    stage = "" if split == "test" else STAGES[CLASSES.index(label)]
    return f"{split}/{label}{stage}/synthetic_{number:03d}{suffix}"


# The same images as train's of these numbers.
DUPLICATES = {("test", 1): 1, ("test", 2): 2, ("test", 3): 3, ("test", 4): 4, ("valid", 1): 5}
PLANTED = Planted(
    duplicates=tuple(
        (_name("train", "normal", original), _name(split, "normal", number))
        for (split, number), original in DUPLICATES.items()
    ),
    conflict=(_name("train", CLASSES[1], 2), _name("train", CLASSES[3], 2)),
    damaged=_name("train", CLASSES[0], 3),
    misnamed=_name("train", CLASSES[1], 4),
)


def is_synthetic(ids: Iterable[str]) -> bool:
    """Whether there are samples, and all their names mark them as drawn."""
    names = [sample.rpartition("/")[2] for sample in ids]
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
        raise UsageError(
            f"expected at least {FEWEST} images per class, found {images_per_class}; ask for more"
        )
    note = f"{MARK}\nseed {seed}, {images_per_class} images per class\n"
    marker = folder / ".synthetic"
    same = marker.is_file() and marker.read_bytes() == note.encode()
    if folder.exists() and not same and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(
            f"expected a new or empty folder for synthetic data, found {folder} in use; name another"
        )
    write_text(marker, note)
    for path, content in _files(seed, images_per_class):
        write_bytes(folder / path, content)
    return folder


def _files(seed: int, images_per_class: int) -> Iterator[tuple[str, bytes]]:
    """Every file's path, relative to the data set's root, and its bytes."""
    valid, test = images_per_class // 6, images_per_class // 4
    counts = {"train": images_per_class - valid - test, "valid": valid, "test": test}
    numbered = ((split, label, n + 1) for split in SPLITS for label in CLASSES for n in range(counts[split]))
    for split, label, number in numbered:
        path, mode = _name(split, label, number), FORMATS.get(number, "RGBA")
        source, shown = (split, label, number), label
        if label == "normal" and (split, number) in DUPLICATES:
            source, mode = ("train", label, DUPLICATES[split, number]), ("RGBA", "RGB")[number % 2]
        elif path in PLANTED.conflict:
            shown, source = CLASSES[1], ("train", CLASSES[1], number)
        elif path == PLANTED.misnamed:
            mode = "JPEG"
        # Each image has its own stream, so that it does not depend on how many others are drawn.
        stream = (seed, SPLITS.index(source[0]), CLASSES.index(source[1]), source[2])
        content = _encode(draw_slice(np.random.default_rng(stream), shown), mode)
        if path == PLANTED.damaged:
            content = content[: len(content) // 2]
        if mode == "JPEG" and path != PLANTED.misnamed:
            path = _name(split, label, number, ".jpg")
        yield path, content


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
