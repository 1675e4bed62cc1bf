"""Golden pixels: every mode file is made byte by byte, its RGB is worked out by hand from the rule."""

import struct
import warnings

import numpy as np
import pytest
from PIL import Image

from tumorboard.data.image_reader import read_image
from tumorboard.data.pixels import readers_quiet
from tumorboard.errors import DataError

from .pictures import GREY, GREY_ALPHA, PALETTE, RGB, RGBA, bmp, chunk, png, saved, tiff

DEEP = [0, 255, 256, 4095, 4096, 32768, 65534, 65535]
HIGH = [0, 0, 1, 15, 16, 128, 255, 255]
COLOURS = [0, 256, 65535, 511, 512, 513]
COLOURS_HIGH = [(0, 1, 255), (1, 2, 2)]
PLTE = chunk(b"PLTE", bytes([10, 20, 30, 200, 100, 50]))
COLORMAP = [v * 257 for v in ([10, 200, *[0] * 254], [20, 100, *[0] * 254], [30, 50, *[0] * 254]) for v in v]


def grey(*values: int) -> list[tuple[int, int, int]]:
    return [(v, v, v) for v in values]


def deep(order: str, values: list[int]) -> bytes:
    return struct.pack(f"{order}{len(values)}H", *values)


# name: (file, its pixels in one row)
GOLDEN = {
    "png grey 8": (png(3, 1, 8, GREY, b"\x00\x7f\xff"), grey(0, 127, 255)),
    "png grey 4": (png(2, 1, 4, GREY, b"\x1f"), grey(17, 255)),
    "png grey 2": (png(4, 1, 2, GREY, b"\x1b"), grey(0, 85, 170, 255)),
    "png grey 1": (png(8, 1, 1, GREY, b"\x0f"), grey(0, 0, 0, 0, 255, 255, 255, 255)),
    "png grey one transparent": (
        png(3, 1, 8, GREY, b"\x00\x7f\xff", chunk(b"tRNS", b"\x00\x7f")),
        grey(0, 0, 255),
    ),
    "png grey alpha": (png(3, 1, 8, GREY_ALPHA, b"\xff\xff\xff\x80\xc8\x00"), grey(255, 128, 0)),
    "png rgb": (png(2, 1, 8, RGB, b"\x01\x02\x03\xff\x80\x00"), [(1, 2, 3), (255, 128, 0)]),
    "png rgb one transparent": (
        png(2, 1, 8, RGB, b"\x01\x02\x03\xff\x80\x00", chunk(b"tRNS", b"\x00\xff\x00\x80\x00\x00")),
        [(1, 2, 3), (0, 0, 0)],
    ),
    "png rgba": (
        png(3, 1, 8, RGBA, b"\x01\x02\x03\xff\xff\x80\x00\x80\x09\x09\x09\x00"),
        [(1, 2, 3), (128, 64, 0), (0, 0, 0)],
    ),
    "png palette": (
        png(3, 1, 8, PALETTE, b"\x00\x01\x00", PLTE),
        [(10, 20, 30), (200, 100, 50), (10, 20, 30)],
    ),
    "png palette 1 bit": (png(2, 1, 1, PALETTE, b"\x40", PLTE), [(10, 20, 30), (200, 100, 50)]),
    "png palette transparent": (
        png(2, 1, 8, PALETTE, b"\x00\x01", PLTE + chunk(b"tRNS", b"\x00\xff")),
        [(0, 0, 0), (200, 100, 50)],
    ),
    "png palette half transparent": (
        png(2, 1, 8, PALETTE, b"\x00\x01", PLTE + chunk(b"tRNS", b"\xff\x80")),
        [(10, 20, 30), (100, 50, 25)],
    ),
    "png grey 16": (png(8, 1, 16, GREY, deep(">", DEEP)), grey(*HIGH)),
    "png grey 16 one transparent": (
        png(8, 1, 16, GREY, deep(">", DEEP), chunk(b"tRNS", b"\xff\xff")),
        grey(*HIGH[:-1], 0),
    ),
    "png grey alpha 16": (png(2, 1, 16, GREY_ALPHA, deep(">", [511, 65535, 65535, 0])), grey(1, 0)),
    "png rgb 16": (png(2, 1, 16, RGB, deep(">", COLOURS)), COLOURS_HIGH),
    "png rgba 16": (
        png(2, 1, 16, RGBA, deep(">", [0, 256, 65535, 65535, 511, 512, 513, 0])),
        [(0, 1, 255), (0, 0, 0)],
    ),
    "tiff grey 16 little": (tiff("<", 8, 1, 16, 1, deep("<", DEEP)), grey(*HIGH)),
    "tiff grey 16 big": (tiff(">", 8, 1, 16, 1, deep(">", DEEP)), grey(*HIGH)),
    "tiff grey 16 white is zero": (tiff("<", 3, 1, 16, 0, deep("<", [0, 256, 65535])), grey(255, 254, 0)),
    "tiff grey 8 white is zero": (tiff("<", 3, 1, 8, 0, b"\x00\x01\xff"), grey(255, 254, 0)),
    "tiff grey signed 16": (
        tiff("<", 3, 1, 16, 1, deep("<", [0, 256, 32767]), sample_format=2),
        grey(0, 1, 127),
    ),
    "tiff grey 32 within 16": (tiff("<", 3, 1, 32, 1, struct.pack("<3I", 0, 256, 65535)), grey(0, 1, 255)),
    "tiff rgb 16 little": (tiff("<", 2, 1, 16, 2, deep("<", COLOURS), samples=3), COLOURS_HIGH),
    "tiff rgb 16 big": (tiff(">", 2, 1, 16, 2, deep(">", COLOURS), samples=3), COLOURS_HIGH),
    "tiff bilevel": (tiff("<", 8, 1, 1, 1, b"\x0f"), grey(0, 0, 0, 0, 255, 255, 255, 255)),
    "tiff grey alpha": (tiff("<", 2, 1, 8, 1, b"\xff\x80\x01\xff", samples=2, extra=2), grey(128, 1)),
    "tiff rgb premultiplied": (
        tiff("<", 1, 1, 8, 2, b"\x80\x40\x01\x80", samples=4, extra=1),
        [(128, 64, 1)],
    ),
    "tiff unused fourth": (
        tiff("<", 1, 1, 8, 2, b"\x80\x40\x01\x00", samples=4, extra=0),
        [(128, 64, 1)],
    ),
    "tiff palette": (
        tiff("<", 2, 1, 8, 3, b"\x00\x01", colormap=COLORMAP),
        [(10, 20, 30), (200, 100, 50)],
    ),
    "tiff cmyk": (
        tiff("<", 3, 1, 8, 5, b"\x00\x00\x00\x00\xff\x00\x00\x00\x00\x00\x00\xff", samples=4),
        [(255, 255, 255), (0, 255, 255), (0, 0, 0)],
    ),
    "bmp 24": (bmp(2, 1, b"\x03\x02\x01\x00\x80\xff\x00\x00"), [(1, 2, 3), (255, 128, 0)]),
    "webp lossless": (saved(Image.new("RGB", (2, 1), (1, 2, 3)), "WEBP", lossless=True), [(1, 2, 3)] * 2),
    "webp alpha": (
        saved(Image.new("RGBA", (1, 1), (255, 128, 0, 128)), "WEBP", lossless=True, exact=True),
        [(128, 64, 0)],
    ),
    "jpeg grey": (saved(Image.new("L", (8, 1), 90), "JPEG", quality=100), grey(*[90] * 8)),
    "jpeg cmyk inverted as Adobe does": (
        saved(Image.new("CMYK", (8, 1), (0, 255, 255, 0)), "JPEG", quality=100),
        [(255, 0, 0)] * 8,
    ),
    "jpeg cmyk half black": (
        saved(Image.new("CMYK", (8, 1), (0, 0, 0, 128)), "JPEG", quality=100),
        grey(*[127] * 8),
    ),
}
# What goes through unpremultiplying or JPEG's rounding may be one level off.
LOSSY = {"tiff premultiplied", *(name for name in GOLDEN if name.startswith("jpeg"))}


@pytest.mark.parametrize("name", GOLDEN)
def test_every_mode_gives_its_golden_pixels(name, tmp_path):
    content, expected = GOLDEN[name]
    path = tmp_path / "picture.bin"
    path.write_bytes(content)
    found = read_image(path).pixels
    assert found.dtype == np.uint8
    assert found.shape == (1, len(expected), 3)
    difference = np.abs(found[0].astype(int) - np.array(expected))
    assert difference.max() <= (1 if name in LOSSY else 0), found


@pytest.mark.parametrize("make", ["png", "<", ">"])
def test_a_16_bit_ramp_keeps_256_levels_in_order(make, tmp_path):
    values = list(range(65536))
    order = ">" if make == "png" else make
    data = deep(order, values)
    path = tmp_path / "ramp"
    path.write_bytes(png(256, 256, 16, GREY, data) if make == "png" else tiff(make, 256, 256, 16, 1, data))
    found = read_image(path).pixels[..., 0].ravel()
    np.testing.assert_array_equal(found, np.array(values) >> 8)


REFUSED = {
    "float": (tiff("<", 2, 1, 32, 1, struct.pack("<2f", 0, 0.5), sample_format=3), "mode F"),
    "negative": (tiff("<", 2, 1, 16, 1, struct.pack("<2h", 0, -1), sample_format=2), "-1 to 0"),
    "beyond 16 bits": (tiff("<", 2, 1, 32, 1, struct.pack("<2I", 0, 65536)), "0 to 65536"),
    "lab": (tiff("<", 1, 1, 8, 8, b"\x80\x40\x01", samples=3), "mode LAB"),
    "16-bit colour key": (
        png(2, 1, 16, RGB, deep(">", COLOURS), chunk(b"tRNS", deep(">", COLOURS[:3]))),
        "alpha channel",
    ),
}


TRANSPARENT = {
    "png grey alpha": png(2, 1, 8, GREY_ALPHA, b"\xff\0\x80\0"),
    "png grey alpha 16": png(2, 1, 16, GREY_ALPHA, deep(">", [511, 0, 65535, 0])),
    "png rgba": png(1, 1, 8, RGBA, b"\1\2\3\0"),
    "png palette": png(2, 1, 8, PALETTE, b"\0\1", PLTE + chunk(b"tRNS", b"\0\0")),
    "png one transparent grey": png(2, 1, 8, GREY, b"\7\7", chunk(b"tRNS", b"\0\7")),
    "png one transparent grey 16": png(
        2, 1, 16, GREY, deep(">", [700, 700]), chunk(b"tRNS", deep(">", [700]))
    ),
    "png one transparent colour": png(1, 1, 8, RGB, b"\1\2\3", chunk(b"tRNS", b"\0\1\0\2\0\3")),
    "tiff grey alpha": tiff("<", 2, 1, 8, 1, b"\xff\0\1\0", samples=2, extra=2),
    "tiff rgb premultiplied": tiff("<", 1, 1, 8, 2, b"\0\0\0\0", samples=4, extra=1),
    "webp": saved(Image.new("RGBA", (1, 1), (255, 128, 0, 0)), "WEBP", lossless=True, exact=True),
}


@pytest.mark.parametrize("name", TRANSPARENT)
def test_an_image_of_which_nothing_can_be_seen_is_refused(name, tmp_path):
    path = tmp_path / "nothing.png"
    path.write_bytes(TRANSPARENT[name])
    with pytest.raises(DataError, match="found an image that is wholly transparent"):
        read_image(path)


@pytest.mark.parametrize("name", REFUSED)
def test_pixels_without_an_agreed_form_are_refused(name, tmp_path):
    content, reason = REFUSED[name]
    path = tmp_path / "odd.tif"
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason):
        read_image(path)


def test_a_16_bit_image_that_will_be_nearly_black_is_noted(tmp_path):
    path = tmp_path / "dark.png"
    path.write_bytes(png(2, 1, 16, GREY, deep(">", [0, 1023])))
    assert "up to 1023 only" in read_image(path).notes[0]
    path.write_bytes(png(2, 1, 16, GREY, deep(">", [0, 60000])))
    assert read_image(path).notes == ()


def test_pillows_warnings_are_kept_away_and_others_are_not():
    with readers_quiet():
        Image._decompression_bomb_check((10_000, 10_000))
        with pytest.warns(UserWarning, match="mine"):
            warnings.warn("mine", stacklevel=1)
    with pytest.warns(Image.DecompressionBombWarning):
        Image._decompression_bomb_check((10_000, 10_000))


def test_the_last_reader_restores_the_filters():
    before = list(warnings.filters)
    first, second = readers_quiet(), readers_quiet()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    Image._decompression_bomb_check((10_000, 10_000))
    second.__exit__(None, None, None)
    assert list(warnings.filters) == before
