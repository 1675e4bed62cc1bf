import io
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data.pictures import grey_png, plant
from tumorboard.reports.example_images import contact_sheet


def _sheet(tmp_path: Path, groups: list[list[str]]) -> np.ndarray:
    names = [name for group in groups for name in group]
    files = {name: grey_png(10 * (i % 25 + 1)) for i, name in enumerate(names)}
    plant(tmp_path, files)
    content = contact_sheet(groups, {name: tmp_path / name for name in files})
    return np.asarray(Image.open(io.BytesIO(content)).convert("L"))


def test_a_group_is_a_row_of_pictures(tmp_path: Path) -> None:
    sheet = _sheet(tmp_path, [["a/1", "a/2"], ["b/1", "b/2"]])
    centres = [[int(sheet[8 + 90 + 218 * row, 8 + 90 + 188 * column]) for column in (0, 1)] for row in (0, 1)]
    assert centres == [[10, 20], [30, 40]]


def test_captions_are_drawn_below(tmp_path: Path) -> None:
    named, white = _sheet(tmp_path, [["folder/name"]])[188:218], 255
    assert (named < white).any()


def test_names_of_any_script_are_no_trouble(tmp_path: Path) -> None:
    assert _sheet(tmp_path, [["каталог/картинка", "目录/图片"]]).size


def test_long_groups_and_many_groups_are_cut(tmp_path: Path) -> None:
    assert _sheet(tmp_path, [[f"{i}" for i in range(9)]]).shape[1] == 5 * 188 + 8
    assert _sheet(tmp_path, [[f"x{i}"] for i in range(45)]).shape[0] == 40 * 218 + 8
