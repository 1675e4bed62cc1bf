import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.audit.facts import Row, dataset, scene
from tests.data.pictures import grey_png, plant, saved
from tumorboard import config
from tumorboard.audit import dataset_facts
from tumorboard.audit.dataset_facts import FactsCollector, colour, gather, longest_text_line
from tumorboard.data.image_cache import pixel_digest
from tumorboard.data.image_reader import read_image
from tumorboard.data.manifest import Manifest, load
from tumorboard.data.synthetic import draw_slice


def _manifest(tmp_path: Path, files: dict[str, bytes]) -> Manifest:
    return load(plant(tmp_path, files)).manifest


def _scene_png(seed: int) -> bytes:
    return saved(Image.fromarray(scene(seed)), "PNG")


def test_each_image_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"{label}/{i}.png": _scene_png(i) for label in "ab" for i in range(70)}
    manifest, read = _manifest(tmp_path, files), []
    lock = threading.Lock()

    def counting(path: Path, settings: config.Image) -> object:
        with lock:
            read.append(path)
        return read_image(path, settings)

    monkeypatch.setattr(dataset_facts, "read_image", counting)
    said: list[tuple[int, int]] = []
    facts = gather(manifest, progress=lambda done, total: said.append((done, total)))
    assert sorted(read) == sorted(sample.path for sample in manifest.samples)
    assert said == [(i + 1, 140) for i in range(140)]
    assert [image.pixel_sha256 for image in facts.images] == [
        pixel_digest(read_image(sample.path).pixels) for sample in facts.samples
    ]


def test_collected_images_are_not_decoded_again_and_their_facts_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = _manifest(tmp_path, {f"{label}/{i}.png": _scene_png(i) for label in "ab" for i in range(3)})
    expected = gather(manifest)
    collector = FactsCollector()
    for sample in manifest.samples[1:]:
        collector.add(sample, read_image(sample.path))
    read: list[Path] = []

    def counting(path: Path, settings: config.Image) -> object:
        read.append(path)
        return read_image(path, settings)

    monkeypatch.setattr(dataset_facts, "read_image", counting)
    facts = gather(manifest, collected=collector)
    assert read == [manifest.samples[0].path]
    assert facts.images == expected.images
    assert np.array_equal(facts.thumbnails, expected.thumbnails)
    assert collector.take(manifest.samples[1]) is None


def test_facts_are_those_of_the_file(tmp_path: Path) -> None:
    picture = Image.fromarray(scene(1)).resize((80, 50)).convert("RGB")
    files = {f"{label}/{i}.png": saved(picture, "JPEG") for label in "ab" for i in range(2)}
    facts = gather(_manifest(tmp_path, files))
    first = facts.images[0]
    assert (first.header.format, first.header.mode, first.height, first.width) == ("JPEG", "RGB", 50, 80)
    assert facts.thumbnails.shape == (4, 64, 64)


def test_bad_files_join_the_known_problems_and_rows_stay_in_step(tmp_path: Path) -> None:
    files = {
        "a/0.png": b"no image",
        "a/1.png": _scene_png(1),
        "b/0.png": _scene_png(2)[:90],
        "b/1.png": _scene_png(3),
    }
    facts = gather(_manifest(tmp_path, files), problems=["known"])
    assert [sample.id for sample in facts.samples] == ["a/1.png", "b/1.png"]
    assert np.array_equal(facts.thumbnails, [scene(1), scene(3)])
    assert facts.problems[0] == "known"
    assert ["a/0.png" in facts.problems[1], "b/0.png" in facts.problems[2]] == [True, True]


def test_development_is_one_of_each_set_of_duplicates_and_none_of_test() -> None:
    rows = [
        Row("test", digest="one"),
        Row("train", digest="one"),
        Row("valid", digest="one"),
        Row("train", thumbnail=scene(9)),
        Row("train", thumbnail=(scene(9) * 0.9).astype(np.uint8)),
        Row(""),
    ]
    assert dataset(rows).development.tolist() == [1, 3, 5]


def test_colour_is_the_share_of_coloured_pixels() -> None:
    image = np.full((10, 20, 3), 100, np.uint8)
    assert colour(image) == (0, 0)
    image[0, :10] = (100, 100, 160)
    image[1, :10] = (100, 159, 100)
    assert colour(image) == (10 / 200, 0)
    assert colour(np.broadcast_to(np.array([200, 150, 120], np.uint8), (4, 4, 3))) == (1, 80)


def test_jpeg_makes_no_colour_of_grey(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    files = {
        f"{c}/{i}.jpg": saved(Image.fromarray(noise).convert("RGB"), "JPEG", quality=20)
        for c in "ab"
        for i in "01"
    }
    assert gather(_manifest(tmp_path, files)).images[0].coloured == 0


def test_a_plain_square_is_read(tmp_path: Path) -> None:
    facts = gather(_manifest(tmp_path, {f"{c}/{i}.png": grey_png(i) for c in "ab" for i in (1, 2)}))
    assert len(facts.duplicates.near) == 0  # nothing to compare in flat pictures
    assert facts.duplicates.component.tolist() == [0, 1, 0, 1]


def _text(text: str, *, size: int = 14, tone: int = 230, ground: int = 8) -> np.ndarray:
    random = np.random.default_rng(1)
    image = Image.fromarray(random.integers(0, ground + 1, (300, 400, 3), np.uint8))
    ImageDraw.Draw(image).text((20, 20), text, fill=(tone,) * 3, font=ImageFont.load_default(size))
    return np.asarray(image)


@pytest.mark.parametrize("size", [12, 16, 20])
@pytest.mark.parametrize("tone", [140, 200, 255])
def test_writing_on_a_dark_ground_is_found(size: int, tone: int) -> None:
    assert longest_text_line(_text("DOE JOHN 1961", size=size, tone=tone)) >= 3


def test_coloured_writing_counts_too() -> None:
    image = _text("NAME 1961").copy()
    image[..., 2] = 0
    assert longest_text_line(image) >= 3


@pytest.mark.parametrize("text", ["", "L"])
def test_nothing_and_a_single_letter_are_no_writing(text: str) -> None:
    assert longest_text_line(_text(text)) < 3


def test_a_scale_of_filled_blocks_and_noise_are_no_writing() -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    for x in range(10, 150, 14):
        image[20:28, x : x + 8] = 255
    assert longest_text_line(image) == 0
    assert longest_text_line(np.random.default_rng(2).integers(0, 256, (200, 200, 3), np.uint8)) < 3


def test_drawn_slices_carry_none() -> None:
    random = np.random.default_rng(3)
    for label in ("normal", "adenocarcinoma"):
        grey = (draw_slice(random, label) >> 8).astype(np.uint8)
        assert longest_text_line(np.repeat(grey[..., np.newaxis], 3, axis=2)) < 3
