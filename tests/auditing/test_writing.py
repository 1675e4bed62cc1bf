import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from tumorboard.auditing.writing import longest_row
from tumorboard.data.synthetic import draw_slice


def written(text: str, *, size: int = 14, tone: int = 230, ground: int = 8) -> np.ndarray:
    random = np.random.default_rng(1)
    image = Image.fromarray(random.integers(0, ground + 1, (300, 400, 3), np.uint8))
    ImageDraw.Draw(image).text((20, 20), text, fill=(tone,) * 3, font=ImageFont.load_default(size))
    return np.asarray(image)


@pytest.mark.parametrize("size", [12, 16, 20])
@pytest.mark.parametrize("tone", [140, 200, 255])
def test_writing_on_a_dark_ground_is_found(size: int, tone: int) -> None:
    assert longest_row(written("DOE JOHN 1961", size=size, tone=tone)) >= 3


def test_coloured_writing_counts_too() -> None:
    image = written("NAME 1961").copy()
    image[..., 2] = 0
    assert longest_row(image) >= 3


@pytest.mark.parametrize("text", ["", "L"])
def test_nothing_and_a_single_letter_are_no_writing(text: str) -> None:
    assert longest_row(written(text)) < 3


def test_a_scale_of_filled_blocks_and_noise_are_no_writing() -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    for x in range(10, 150, 14):
        image[20:28, x : x + 8] = 255
    assert longest_row(image) == 0
    assert longest_row(np.random.default_rng(2).integers(0, 256, (200, 200, 3), np.uint8)) < 3


def test_drawn_slices_carry_none() -> None:
    random = np.random.default_rng(3)
    for label in ("normal", "adenocarcinoma"):
        grey = (draw_slice(random, label) >> 8).astype(np.uint8)
        assert longest_row(np.repeat(grey[..., np.newaxis], 3, axis=2)) < 3
