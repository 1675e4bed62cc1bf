import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.auditing.studies import Row, scene, study
from tests.data.pictures import grey_png, plant, saved
from tumorboard.auditing import study as module
from tumorboard.auditing.study import colour, gather
from tumorboard.data.image_cache import pixel_digest
from tumorboard.data.image_reader import read_image, read_with_notes
from tumorboard.data.manifest import Manifest, load


def _manifest(tmp_path: Path, files: dict[str, bytes]) -> Manifest:
    return load(plant(tmp_path, files)).manifest


def _scene_png(seed: int) -> bytes:
    return saved(Image.fromarray(scene(seed)), "PNG")


def test_each_image_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"{label}/{i}.png": _scene_png(i) for label in "ab" for i in range(70)}
    manifest, read = _manifest(tmp_path, files), []
    lock = threading.Lock()

    def counting(path: Path, *, window: str = "") -> object:
        with lock:
            read.append(path)
        return read_with_notes(path, window=window)

    monkeypatch.setattr(module, "read_with_notes", counting)
    said: list[tuple[int, int]] = []
    facts = gather(manifest, progress=lambda done, total: said.append((done, total)))
    assert sorted(read) == sorted(sample.path for sample in manifest.samples)
    assert said == [(i + 1, 140) for i in range(140)]
    assert [picture.pixel_sha256 for picture in facts.pictures] == [
        pixel_digest(read_image(sample.path)) for sample in facts.samples
    ]


def test_facts_are_those_of_the_file(tmp_path: Path) -> None:
    picture = Image.fromarray(scene(1)).resize((80, 50)).convert("RGB")
    files = {f"{label}/{i}.png": saved(picture, "JPEG") for label in "ab" for i in range(2)}
    facts = gather(_manifest(tmp_path, files))
    first = facts.pictures[0]
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


def test_what_one_may_choose_by_is_one_of_each_twin_and_nothing_of_test() -> None:
    rows = [
        Row("test", digest="one"),
        Row("train", digest="one"),
        Row("valid", digest="one"),
        Row("train", thumbnail=scene(9)),
        Row("train", thumbnail=(scene(9) * 0.9).astype(np.uint8)),
        Row(""),
    ]
    assert study(rows).choosing.tolist() == [1, 3, 5]


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
    assert gather(_manifest(tmp_path, files)).pictures[0].coloured == 0


def test_a_plain_square_is_read(tmp_path: Path) -> None:
    facts = gather(_manifest(tmp_path, {f"{c}/{i}.png": grey_png(i) for c in "ab" for i in (1, 2)}))
    assert len(facts.twins.near) == 0  # nothing to compare in flat pictures
    assert facts.twins.unit.tolist() == [0, 1, 0, 1]
