import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.pictures import grey_png, plant
from tests.reports.runs import run_results
from tumorboard import config
from tumorboard.reports.document import CaptionedImage
from tumorboard.reports.example_images import (
    PICTURE_SIDE,
    contact_sheet,
    example_ids,
    sample_ids,
    samples,
    small_copy,
)


def _sheet(tmp_path: Path, groups: list[list[str]]) -> np.ndarray:
    names = [name for group in groups for name in group]
    files = {name: grey_png(10 * (i % 25 + 1)) for i, name in enumerate(names)}
    plant(tmp_path, files)
    content = contact_sheet(groups, {name: tmp_path / name for name in files}, config.Image())
    return np.asarray(Image.open(io.BytesIO(content)).convert("L"))


def test_a_group_is_a_row_of_pictures(tmp_path: Path) -> None:
    sheet = _sheet(tmp_path, [["a/1", "a/2"], ["b/1", "b/2"]])
    centres = [[int(sheet[8 + 90 + 218 * row, 8 + 90 + 188 * column]) for column in (0, 1)] for row in (0, 1)]
    assert centres == [[10, 20], [30, 40]]


def test_captions_are_drawn_below(tmp_path: Path) -> None:
    named, white = _sheet(tmp_path, [["folder/name"]])[188:218], 255
    assert (named < white).any()


def test_names_of_any_script_are_no_trouble(tmp_path: Path) -> None:
    for name in ("каталог/картинка", "目录/图片", "\u0646\u0633\u064a\u062c/1.png", "a/" + "\u76ee" * 60):
        sheet = _sheet(tmp_path, [[name, "b"]])
        assert (sheet[188:218, 8:180] < 255).any()
        assert (sheet[188:218, 184:196] == 255).all()  # it does not run into the next caption


def test_long_groups_and_many_groups_are_cut(tmp_path: Path) -> None:
    assert _sheet(tmp_path, [[f"{i}" for i in range(9)]]).shape[1] == 5 * 188 + 8
    assert _sheet(tmp_path, [[f"x{i}"] for i in range(45)]).shape[0] == 40 * 218 + 8


def test_samples_of_a_class_are_of_train_and_test_and_each_image_of_them_is_read_once() -> None:
    results = run_results()
    chosen = sample_ids(results)
    assert list(chosen) == list(results.class_names)
    for label, ids in enumerate(chosen.values()):
        assert [split for split, _ in ids] == ["train", "train", "test"]
        for split, image_id in ids:
            part = results.reference[split]
            assert part.labels[part.ids.index(image_id)] == label
    wanted = example_ids(results)
    assert {image_id for ids in chosen.values() for _, image_id in ids} <= set(wanted)
    assert {tuple(models) for models in wanted.values()} == {(), ("pretrained", "custom")}


def test_only_samples_that_can_be_read_are_shown() -> None:
    results = run_results()
    (_, image_id), *_ = sample_ids(results)["normal"]
    shown = samples(replace(results, thumbnails={image_id: [CaptionedImage("image", b"jpeg")]}))
    assert shown.images == {"normal": [CaptionedImage("train image", b"jpeg")]}


def test_a_small_copy_keeps_the_shape_of_its_image() -> None:
    for shape in ((100, 400, 3), (512, 128, 3), (1, 9000, 3)):
        height, width = small_copy(np.zeros(shape, np.uint8)).shape[:2]
        assert max(height, width) == PICTURE_SIDE
        assert min(height, width) == max(1, round(PICTURE_SIDE * min(shape[:2]) / max(shape[:2])))
