"""Golden pixels: every mode file is made byte by byte, its RGB is worked out by hand from the rule."""

import math
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tumorboard import config
from tumorboard.data.grey import LOST_CONTRAST
from tumorboard.data.image_reader import largest_undeclared, read_image
from tumorboard.data.pixels import readers_quiet
from tumorboard.errors import DataError

from . import dicoms
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
    "png grey alpha 16": (
        png(3, 1, 16, GREY_ALPHA, deep(">", [511, 65535, 65535, 0, 32768, 65535])),
        grey(1, 0, 128),
    ),
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
    "tiff float from 0 to 1": (
        tiff("<", 4, 1, 32, 1, struct.pack("<4f", 0, 0.25, 0.5, 1), sample_format=3),
        grey(0, 64, 128, 255),
    ),
    "tiff float white is zero": (
        tiff(">", 2, 1, 32, 0, struct.pack(">2f", 0, 0.25), sample_format=3),
        grey(255, 191),
    ),
    "tiff grey signed 8": (tiff("<", 2, 1, 8, 1, b"\x00\x7f", sample_format=2), grey(0, 127)),
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
    "float beyond 1": (
        tiff("<", 2, 1, 32, 1, struct.pack("<2f", 0, 1.5), sample_format=3),
        "values from 0 to 1.5, which need a window; train with --window",
    ),
    "negative float": (
        tiff("<", 2, 1, 32, 1, struct.pack("<2f", -1000.5, 0.5), sample_format=3),
        "values from -1000.5 to 0.5, which need a window",
    ),
    "float NaN": (tiff("<", 1, 1, 32, 1, struct.pack("<f", math.nan), sample_format=3), "without a value"),
    "float infinity": (
        tiff("<", 1, 1, 32, 1, struct.pack("<f", math.inf), sample_format=3),
        "without a value",
    ),
    "negative": (
        tiff("<", 2, 1, 16, 1, struct.pack("<2h", 0, -1), sample_format=2),
        "values from -1 to 0, which need a window",
    ),
    "negative of 8 bits": (
        tiff("<", 2, 1, 8, 1, b"\x00\xff", sample_format=2),
        "values from -1 to 0, which need a window",
    ),
    "beyond 16 bits": (
        tiff("<", 2, 1, 32, 1, struct.pack("<2I", 0, 65536)),
        "values from 0 to 65536, which need a window",
    ),
    "16 bits of an unknown depth": (
        png(2, 1, 16, GREY, deep(">", [0, 4095])),
        "16-bit grey up to 4095, whose depth neither it nor the training images tell; save it with 8 bits",
    ),
    "12-bit colour in 16 bits": (
        png(1, 1, 16, RGB, deep(">", [0, 4095, 17])),
        "16-bit colour up to 4095, which would be nearly black; save it with 8 bits",
    ),
    "12-bit grey with alpha in 16 bits": (
        tiff("<", 1, 1, 16, 2, deep("<", [4095, 4095, 17, 65535]), samples=4, extra=2),
        "16-bit colour up to 4095",
    ),
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


# -- grey of more than 8 bits

CT = np.random.default_rng(0).normal(1000, 300, (64, 64)).clip(0, 4095).astype(int)  # 12 bits
HOUNSFIELD = CT - 1024
LUNG = config.Image(window="lung")


def sbit(bits: int) -> bytes:
    return chunk(b"sBIT", bytes([bits]))


def packed(values: np.ndarray) -> bytes:
    """Two values of 12 bits in three bytes."""
    first, second = values.ravel()[::2], values.ravel()[1::2]
    return np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 1).astype(np.uint8).tobytes()


def grey16(values: np.ndarray, chunks: bytes = b"") -> bytes:
    return png(64, 64, 16, GREY, values.astype(">u2").tobytes(), chunks)


DECLARED = {
    "png, not scaled": (grey16(CT, sbit(12)), CT >> 4),
    "png, scaled as the standard asks": (grey16(CT << 4 | CT >> 8, sbit(12)), CT >> 4),
    "png, scaled and dark": (grey16((CT >> 4) << 4, sbit(12)), CT >> 8),
    "png, all bits": (grey16(CT, sbit(16)), CT >> 8),
    "tiff of 12 bits": (tiff("<", 64, 64, 12, 1, packed(CT)), CT >> 4),
    "tiff, SMaxSampleValue": (tiff("<", 64, 64, 16, 1, CT.astype("<u2").tobytes(), smax=4095), CT >> 4),
    "tiff, MaxSampleValue": (tiff(">", 64, 64, 16, 1, CT.astype(">u2").tobytes(), maximum=4095), CT >> 4),
    "tiff, white is zero": (
        tiff("<", 64, 64, 16, 0, CT.astype("<u2").tobytes(), smax=4095),
        255 - (CT >> 4),
    ),
}


def written(folder: Path, content: bytes) -> Path:
    (folder / "picture").write_bytes(content)
    return folder / "picture"


@pytest.mark.parametrize("name", DECLARED)
@pytest.mark.parametrize("depth", ["auto", 16])
def test_the_depth_that_a_file_declares_comes_before_that_of_the_data(name, depth, tmp_path):
    content, expected = DECLARED[name]
    path = written(tmp_path, content)
    found = read_image(path, config.Image(depth=depth))
    np.testing.assert_array_equal(found.pixels[..., 1], expected)
    assert largest_undeclared(path) == 0


@pytest.mark.parametrize("tag", [{"maximum": 3071}, {"smax": 65535}, {"smax": 255}])
def test_a_largest_value_that_is_a_statistic_or_wrong_declares_nothing(tag, tmp_path):
    path = written(tmp_path, tiff("<", 64, 64, 16, 1, CT.astype("<u2").tobytes(), **tag))
    assert largest_undeclared(path) == CT.max()
    with pytest.raises(DataError, match="whose depth"):
        read_image(path)


@pytest.mark.parametrize("kind", ["png", "tiff", "tiff of 32 bits", "tiff, signed"])
def test_grey_is_read_with_the_depth_of_the_data_set(kind, tmp_path):
    content = {
        "png": grey16(CT),
        "tiff": tiff(">", 64, 64, 16, 1, CT.astype(">u2").tobytes()),
        "tiff of 32 bits": tiff("<", 64, 64, 32, 1, CT.astype("<u4").tobytes()),
        "tiff, signed": tiff("<", 64, 64, 16, 1, CT.astype("<i2").tobytes(), sample_format=2),
    }[kind]
    path = written(tmp_path, content)
    assert largest_undeclared(path) == CT.max()
    for depth in (12, 14, 16):
        found = read_image(path, config.Image(depth=depth))
        np.testing.assert_array_equal(found.pixels[..., 0], CT >> (depth - 8))
        assert found.windowed
    with pytest.raises(DataError, match=rf"up to {CT.max()}, more than the 10 bits of the training images"):
        read_image(path, config.Image(depth=10))


def test_runs_from_before_depths_read_the_high_byte_whatever_is_declared(tmp_path):
    for content, _ in DECLARED.values():
        found = read_image(written(tmp_path, content), config.Image(depth="stored", window="40,400"))
        assert found.pixels.max() <= 255 - (CT.min() >> 8)
    np.testing.assert_array_equal(found.pixels[..., 0], 255 - (CT >> 8))


def test_sixteen_full_bits_need_no_depth(tmp_path):
    path = written(tmp_path, grey16(CT << 4))
    np.testing.assert_array_equal(read_image(path).pixels[..., 0], CT >> 4)
    assert read_image(path).notes == ()


def test_a_black_image_of_16_bits_is_read(tmp_path):
    assert not read_image(written(tmp_path, grey16(CT * 0))).pixels.any()
    assert largest_undeclared(tmp_path / "picture") == 0


def test_colour_of_few_bits_is_read_once_its_depth_is_known(tmp_path):
    path = written(tmp_path, png(1, 1, 16, RGB, deep(">", [0, 4095, 17])))
    for depth in (16, "stored"):
        assert read_image(path, config.Image(depth=depth)).pixels.tolist() == [[[0, 15, 0]]]
    assert largest_undeclared(path) == 4095
    assert largest_undeclared(written(tmp_path, png(1, 1, 16, RGB, deep(">", [0, 50000, 17])))) > 49_000


def test_a_dark_bmp_of_16_bits_per_pixel_is_colour_of_5(tmp_path):
    header = struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 16, 0, 4, 0, 0, 0, 0)
    content = struct.pack("<2sIHHI", b"BM", 58, 0, 0, 54) + header + struct.pack("<2H", 1, 3 << 5)
    assert read_image(written(tmp_path, content)).pixels.tolist() == [[[0, 0, 8], [0, 24, 0]]]
    assert largest_undeclared(tmp_path / "picture") == 0


WINDOWED = {
    "int16": tiff("<", 64, 64, 16, 1, HOUNSFIELD.astype("<i2").tobytes(), sample_format=2),
    "int16, big-endian": tiff(">", 64, 64, 16, 1, HOUNSFIELD.astype(">i2").tobytes(), sample_format=2),
    "int32": tiff("<", 64, 64, 32, 1, HOUNSFIELD.astype("<i4").tobytes(), sample_format=2),
    "float32": tiff("<", 64, 64, 32, 1, HOUNSFIELD.astype("<f4").tobytes(), sample_format=3),
}


@pytest.mark.parametrize("name", WINDOWED)
@pytest.mark.parametrize("window", ["lung", "40,400", "-1024,1"])
def test_hounsfield_units_are_shown_as_dicom_shows_them(name, window, tmp_path):
    """Through the same window, whatever the format; without a window they are refused."""
    path = written(tmp_path, WINDOWED[name])
    found = read_image(path, config.Image(window=window))
    twin = read_image(dicoms.image(CT, slope=1, intercept=-1024), config.Image(window=window))
    np.testing.assert_array_equal(found.pixels, twin.pixels)
    with pytest.raises(DataError, match=r"need a window; train with --window=CENTER,WIDTH; .*-600,1500"):
        read_image(path)


def test_a_window_of_numbers_is_that_of_unsigned_grey_too(tmp_path):
    """Hounsfield units plus 32,768 in 16-bit PNG, as in DeepLesion, and 12 bits as a window."""
    path = written(tmp_path, grey16(HOUNSFIELD + 32768))
    found = read_image(path, config.Image(window="32168,1500"))
    expected = read_image(dicoms.image(CT, slope=1, intercept=-1024), LUNG).pixels
    np.testing.assert_array_equal(found.pixels, expected)
    assert found.notes == ()
    twelve = read_image(written(tmp_path, grey16(CT)), config.Image(window="2048,4096"))
    np.testing.assert_array_equal(twelve.pixels[..., 0], np.rint(CT / 4095 * 255))


def test_a_preset_is_not_applied_to_unsigned_grey(tmp_path):
    found = read_image(written(tmp_path, grey16(CT)), config.Image(window="lung", depth=12))
    np.testing.assert_array_equal(found.pixels[..., 0], CT >> 4)
    assert "no Hounsfield units: the window lung is not applied" in found.notes[0]


def test_values_beyond_31_bits_are_not_wrapped(tmp_path):
    path = written(tmp_path, tiff("<", 3, 1, 32, 1, struct.pack("<3I", 0, 1 << 31, (1 << 32) - 1)))
    found = read_image(path, config.Image(window="2147483648,4294967296"))
    assert found.pixels[0, :, 0].tolist() == [0, 128, 255]


def test_transparent_values_are_black_and_do_not_count(tmp_path):
    content = png(3, 1, 16, GREY, deep(">", [100, 4095, 9999]), chunk(b"tRNS", deep(">", [9999])))
    path = written(tmp_path, content)
    assert largest_undeclared(path) == 4095
    assert read_image(path, config.Image(depth=12)).pixels[0, :, 0].tolist() == [6, 255, 0]
    assert read_image(path, config.Image(window="100,1")).pixels[0, :, 0].tolist() == [255, 255, 0]


# -- lost contrast

LOST = {
    "Hounsfield units plus 32,768": (grey16(HOUNSFIELD + 32768), {}, "lung is 32168,1500"),
    "a depth that is too large": (grey16(CT), {"depth": 16}, LOST_CONTRAST),
    "a window beside the values": (WINDOWED["int16"], {"window": "20000,100"}, LOST_CONTRAST),
    "DICOM, a window beside the values": (dicoms.image(CT), {"window": "20000,100"}, LOST_CONTRAST),
    "DICOM, its own window": (dicoms.image(CT, center=1000, width=2), {}, LOST_CONTRAST),
    "DICOM, colour of few bits": (
        dicoms.image(np.stack([CT] * 3, -1), photometric="RGB", samples=3, planar=0),
        {},
        LOST_CONTRAST,
    ),
    "few values": (png(2, 1, 16, GREY, deep(">", [0, 1023])), {"depth": "stored"}, "up to 1023 only"),
}


@pytest.mark.parametrize("name", LOST)
def test_a_picture_that_loses_most_of_its_levels_is_noted(name, tmp_path):
    content, settings, expected = LOST[name]
    found = read_image(written(tmp_path, content), config.Image(**settings))
    assert [expected in note for note in found.notes] == [True]


KEPT = {
    "12 bits": (grey16(CT), {"depth": 12}),
    "a mask of 16 bits": (grey16((CT > 1000) * 65535), {}),
    "a mask of 12 bits": (grey16((CT > 1000) * 4095), {"depth": 12}),
    "two values of 8 bits": (png(2, 1, 16, GREY, deep(">", [0, 255])), {"depth": 8}),
    "a window": (WINDOWED["float32"], {"window": "lung"}),
    "DICOM": (dicoms.image(CT, center=1000, width=900), {}),
}


@pytest.mark.parametrize("name", KEPT)
def test_a_picture_that_keeps_its_levels_is_not_noted(name, tmp_path):
    content, settings = KEPT[name]
    assert read_image(written(tmp_path, content), config.Image(**settings)).notes == ()


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


def test_libtiff_writes_nothing_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    content = bytearray(saved(Image.new("L", (64, 64), 7), "TIFF", compression="tiff_adobe_deflate"))
    content[12] ^= 0xFF
    with pytest.raises(DataError):
        read_image(bytes(content))
    assert capfd.readouterr().err == ""
